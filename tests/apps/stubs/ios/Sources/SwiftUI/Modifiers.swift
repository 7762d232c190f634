/// The modifiers of SwiftUI's views. Own code; sources beside each declaration.

import UniformTypeIdentifiers

extension View {
    /// No part of SwiftUI: what every modifier gives.
    func modified() -> some View { ModifiedContent<Self, Never>() }

    /// Source: https://developer.apple.com/documentation/swiftui/view/navigationtitle(_:)-6p1k7
    public func navigationTitle(_ title: Text) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/navigationtitle(_:)-avgj
    public func navigationTitle(_ titleKey: LocalizedStringKey) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/navigationbartitledisplaymode(_:)
    public func navigationBarTitleDisplayMode(_ mode: NavigationBarItem.TitleDisplayMode) -> some View {
        modified()
    }
    /// Source: https://developer.apple.com/documentation/swiftui/view/navigationdestination(for:destination:)
    public func navigationDestination<D: Hashable, C: View>(
        for data: D.Type, @ViewBuilder destination: @escaping (D) -> C
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/toolbar(content:)-7vdkx
    public func toolbar<Content: ToolbarContent>(
        @ToolbarContentBuilder content: () -> Content
    ) -> some View { modified() }

    /// Source: https://developer.apple.com/documentation/swiftui/view/sheet(ispresented:ondismiss:content:)
    public func sheet<Content: View>(
        isPresented: Binding<Bool>, onDismiss: (() -> Void)? = nil, @ViewBuilder content: @escaping () -> Content
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/presentationdetents(_:)
    public func presentationDetents(_ detents: Set<PresentationDetent>) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/alert(_:ispresented:presenting:actions:message:)-29bp4
    public func alert<A: View, M: View, T>(
        _ titleKey: LocalizedStringKey, isPresented: Binding<Bool>, presenting data: T?,
        @ViewBuilder actions: (T) -> A, @ViewBuilder message: (T) -> M
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/confirmationdialog(_:ispresented:titlevisibility:actions:)-4l25e
    public func confirmationDialog<A: View>(
        _ titleKey: LocalizedStringKey, isPresented: Binding<Bool>, titleVisibility: Visibility = .automatic,
        @ViewBuilder actions: () -> A
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/fileimporter(ispresented:allowedcontenttypes:oncompletion:)
    public func fileImporter(
        isPresented: Binding<Bool>, allowedContentTypes: [UTType],
        onCompletion: @escaping (Result<URL, any Error>) -> Void
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/contextmenu(menuitems:)
    public func contextMenu<MenuItems: View>(@ViewBuilder menuItems: () -> MenuItems) -> some View {
        modified()
    }
    /// Source: https://developer.apple.com/documentation/swiftui/view/overlay(alignment:content:)
    public func overlay<V: View>(@ViewBuilder content: () -> V) -> some View { modified() }

    /// Source: https://developer.apple.com/documentation/swiftui/view/task(priority:_:)
    public func task(
        priority: TaskPriority = .userInitiated, @_inheritActorContext _ action: @escaping @Sendable () async -> Void
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/task(id:priority:_:)
    public func task<T: Equatable>(
        id value: T, priority: TaskPriority = .userInitiated,
        @_inheritActorContext _ action: @escaping @Sendable () async -> Void
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/onopenurl(perform:)
    public func onOpenURL(perform action: @escaping (URL) -> Void) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/onchange(of:initial:_:)-4psgg
    public func onChange<V: Equatable>(
        of value: V, initial: Bool = false, _ action: @escaping (_ oldValue: V, _ newValue: V) -> Void
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/refreshable(action:)
    public func refreshable(
        @_inheritActorContext action: @escaping @Sendable () async -> Void
    ) -> some View { modified() }

    /// Source: https://developer.apple.com/documentation/swiftui/view/id(_:)
    public func id<ID: Hashable>(_ id: ID) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/tag(_:includeoptional:)
    public func tag<V: Hashable>(_ tag: V) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/disabled(_:)
    public func disabled(_ disabled: Bool) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/keyboardshortcut(_:modifiers:)
    public func keyboardShortcut(_ key: KeyEquivalent, modifiers: EventModifiers = .command) -> some View {
        modified()
    }

    /// Source: https://developer.apple.com/documentation/swiftui/view/accessibilitylabel(_:)-1d7jv
    public func accessibilityLabel(_ label: Text) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/accessibilityidentifier(_:)
    public func accessibilityIdentifier(_ identifier: String) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/accessibilityelement(children:)
    public func accessibilityElement(children: AccessibilityChildBehavior = .ignore) -> some View {
        modified()
    }
    /// Source: https://developer.apple.com/documentation/swiftui/view/accessibilityaction(named:_:)
    public func accessibilityAction(
        named name: Text, _ handler: @escaping @MainActor () -> Void
    ) -> some View { modified() }
}

/// Source: https://developer.apple.com/documentation/swiftui/navigationbaritem
public enum NavigationBarItem {
    /// Source: https://developer.apple.com/documentation/swiftui/navigationbaritem/titledisplaymode
    public enum TitleDisplayMode: Sendable {
        case automatic, inline, large
    }
}

/// Source: https://developer.apple.com/documentation/swiftui/presentationdetent
public struct PresentationDetent: Hashable, Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/presentationdetent/medium
    public static let medium = PresentationDetent()
}

/// Source: https://developer.apple.com/documentation/swiftui/visibility
public enum Visibility: Sendable {
    case automatic, visible, hidden
}

/// Source: https://developer.apple.com/documentation/swiftui/accessibilitychildbehavior
public struct AccessibilityChildBehavior: Hashable, Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/accessibilitychildbehavior/ignore
    public static let ignore = AccessibilityChildBehavior()
    /// Source: https://developer.apple.com/documentation/swiftui/accessibilitychildbehavior/combine
    public static let combine = AccessibilityChildBehavior()
}

/// Source: https://developer.apple.com/documentation/swiftui/keyequivalent
public struct KeyEquivalent: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/keyequivalent/return
    public static let `return` = KeyEquivalent()
}

/// Source: https://developer.apple.com/documentation/swiftui/eventmodifiers
public struct EventModifiers: OptionSet, Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/eventmodifiers/rawvalue
    public let rawValue: Int
    /// Source: https://developer.apple.com/documentation/swiftui/eventmodifiers/init(rawvalue:)
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// Source: https://developer.apple.com/documentation/swiftui/eventmodifiers/command
    public static let command = EventModifiers(rawValue: 1)
}
