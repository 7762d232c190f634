/// The part of UIKit that the app uses. Own code; sources beside each declaration.

import Foundation

/// Source: https://developer.apple.com/documentation/uikit/uidevice
@MainActor
public final class UIDevice {
    /// Source: https://developer.apple.com/documentation/uikit/uidevice/current
    public static let current = UIDevice()
    /// Source: https://developer.apple.com/documentation/uikit/uidevice/systemname
    public var systemName: String { "Linux" }
    /// Source: https://developer.apple.com/documentation/uikit/uidevice/systemversion
    public var systemVersion: String { "0" }
}

/// Source: https://developer.apple.com/documentation/uikit/uipasteboard
public final class UIPasteboard {
    /// Source: https://developer.apple.com/documentation/uikit/uipasteboard/general
    nonisolated(unsafe) public static let general = UIPasteboard()
    /// Source: https://developer.apple.com/documentation/uikit/uipasteboard/string
    public var string: String?
}

/// Source: https://developer.apple.com/documentation/uikit/uibackgroundtaskidentifier
public struct UIBackgroundTaskIdentifier: Hashable, Sendable {
    /// Source: https://developer.apple.com/documentation/uikit/uibackgroundtaskidentifier/invalid
    public static let invalid = UIBackgroundTaskIdentifier()
}

/// Source: https://developer.apple.com/documentation/uikit/uiapplication
@MainActor
public final class UIApplication {
    /// Source: https://developer.apple.com/documentation/uikit/uiapplication/shared
    public static let shared = UIApplication()
    /// Source: https://developer.apple.com/documentation/uikit/uiapplication/didreceivememorywarningnotification
    nonisolated public static let didReceiveMemoryWarningNotification = Notification.Name("memory")
    /// Source: https://developer.apple.com/documentation/uikit/uiapplication/isidletimerdisabled
    public var isIdleTimerDisabled = false
    /// Source: https://developer.apple.com/documentation/uikit/uiapplication/beginbackgroundtask(withname:expirationhandler:)
    nonisolated public func beginBackgroundTask(
        withName taskName: String?, expirationHandler handler: (@MainActor @Sendable () -> Void)? = nil
    ) -> UIBackgroundTaskIdentifier { UIBackgroundTaskIdentifier() }
    /// Source: https://developer.apple.com/documentation/uikit/uiapplication/endbackgroundtask(_:)
    nonisolated public func endBackgroundTask(_ identifier: UIBackgroundTaskIdentifier) {}
}

/// Source: https://developer.apple.com/documentation/uikit/uiaccessibility
public enum UIAccessibility {
    /// Source: https://developer.apple.com/documentation/uikit/uiaccessibility/notification
    public struct Notification: Sendable {
        /// Source: https://developer.apple.com/documentation/uikit/uiaccessibility/notification/announcement
        public static let announcement = Notification()
    }
    /// Source: https://developer.apple.com/documentation/uikit/uiaccessibility/post(notification:argument:)
    @MainActor public static func post(notification: Notification, argument: Any?) {}
}
