/// What Apple's Foundation has and Linux's has not. Own code; sources beside each declaration.

import Foundation

extension URL {
    /// Source: https://developer.apple.com/documentation/foundation/url/startaccessingsecurityscopedresource()
    public func startAccessingSecurityScopedResource() -> Bool { true }
    /// Source: https://developer.apple.com/documentation/foundation/url/stopaccessingsecurityscopedresource()
    public func stopAccessingSecurityScopedResource() {}
}

/// Source: https://developer.apple.com/documentation/foundation/nsfilecoordinator
public final class NSFileCoordinator {
    /// Source: https://developer.apple.com/documentation/foundation/nsfilecoordinator/readingoptions
    public struct ReadingOptions: OptionSet, Sendable {
        /// Source: https://developer.apple.com/documentation/foundation/nsfilecoordinator/readingoptions/init(rawvalue:)
        public init(rawValue: Int) { self.rawValue = rawValue }
        /// Source: https://developer.apple.com/documentation/swift/optionset
        public let rawValue: Int
    }

    /// Source: https://developer.apple.com/documentation/foundation/nsfilecoordinator/init(filepresenter:)
    public init() {}
    /// Source: https://developer.apple.com/documentation/foundation/nsfilecoordinator/coordinate(readingitemat:options:error:byaccessor:)
    public func coordinate(
        readingItemAt url: URL, options: ReadingOptions, error outError: UnsafeMutablePointer<NSError?>?,
        byAccessor reader: (URL) -> Void
    ) { reader(url) }
}

extension ProcessInfo {
    /// Source: https://developer.apple.com/documentation/foundation/processinfo/thermalstate-swift.enum
    public enum ThermalState: Int, Sendable {
        case nominal, fair, serious, critical
    }
    /// Source: https://developer.apple.com/documentation/foundation/processinfo/thermalstate-swift.property
    public var thermalState: ThermalState { .nominal }
    /// Source: https://developer.apple.com/documentation/foundation/processinfo/thermalstatedidchangenotification
    public static let thermalStateDidChangeNotification = Notification.Name("heat")
}

extension URLResourceKey {
    /// Source: https://developer.apple.com/documentation/foundation/urlresourcekey/volumeavailablecapacityforimportantusagekey
    public static let volumeAvailableCapacityForImportantUsageKey = URLResourceKey(rawValue: "important")
}

extension URLResourceValues {
    /// Source: https://developer.apple.com/documentation/foundation/urlresourcevalues/volumeavailablecapacityforimportantusage
    public var volumeAvailableCapacityForImportantUsage: Int64? { 1 << 40 }
}
