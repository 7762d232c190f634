/// SwiftUI's lists, forms and navigation. Own code; sources beside each declaration.

/// Source: https://developer.apple.com/documentation/swiftui/list
public struct List<SelectionValue, Content: View>: StubView {}

extension List where SelectionValue == Never {
    /// Source: https://developer.apple.com/documentation/swiftui/list/init(content:)
    public init(@ViewBuilder content: () -> Content) {}
    /// Source: https://developer.apple.com/documentation/swiftui/list/init(_:rowcontent:)
    public init<Data: RandomAccessCollection, RowContent: View>(
        _ data: Data, @ViewBuilder rowContent: @escaping (Data.Element) -> RowContent
    ) where Content == ForEach<Data, Data.Element.ID, RowContent>, Data.Element: Identifiable {}
}

/// Source: https://developer.apple.com/documentation/swiftui/form
public struct Form<Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/form/init(content:)
    public init(@ViewBuilder content: () -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/section
public struct Section<Parent, Content, Footer> {}

extension Section: View, StubView where Parent: View, Content: View, Footer: View {
    /// Source: https://developer.apple.com/documentation/swiftui/section/init(content:header:footer:)
    public init(
        @ViewBuilder content: () -> Content, @ViewBuilder header: () -> Parent, @ViewBuilder footer: () -> Footer
    ) {}
}

extension Section where Parent == EmptyView, Content: View, Footer: View {
    /// Source: https://developer.apple.com/documentation/swiftui/section/init(content:footer:)
    @MainActor public init(@ViewBuilder content: () -> Content, @ViewBuilder footer: () -> Footer) {}
}

extension Section where Parent == EmptyView, Content: View, Footer == EmptyView {
    /// Source: https://developer.apple.com/documentation/swiftui/section/init(content:)
    @MainActor public init(@ViewBuilder content: () -> Content) {}
}

extension Section where Parent == Text, Content: View, Footer == EmptyView {
    /// Source: https://developer.apple.com/documentation/swiftui/section/init(_:content:)-90be4
    @MainActor public init(_ titleKey: LocalizedStringKey, @ViewBuilder content: () -> Content) {}
    /// Source: https://developer.apple.com/documentation/swiftui/section/init(_:content:)-4hjn
    @_disfavoredOverload @MainActor
    public init<S: StringProtocol>(_ title: S, @ViewBuilder content: () -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/navigationstack
public struct NavigationStack<Data, Root: View>: StubView {}

/// Source: https://developer.apple.com/documentation/swiftui/navigationpath
public struct NavigationPath {}

extension NavigationStack where Data == NavigationPath {
    /// Source: https://developer.apple.com/documentation/swiftui/navigationstack/init(root:)
    public init(@ViewBuilder root: () -> Root) {}
}

extension NavigationStack
where Data: MutableCollection & RandomAccessCollection & RangeReplaceableCollection, Data.Element: Hashable {
    /// Source: https://developer.apple.com/documentation/swiftui/navigationstack/init(path:root:)-3bt4q
    public init(path: Binding<Data>, @ViewBuilder root: () -> Root) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/navigationlink
public struct NavigationLink<Label: View, Destination: View>: StubView {}

extension NavigationLink where Destination == Never {
    /// Source: https://developer.apple.com/documentation/swiftui/navigationlink/init(value:label:)-4jswo
    public init<P: Hashable>(value: P?, @ViewBuilder label: () -> Label) {}
}
