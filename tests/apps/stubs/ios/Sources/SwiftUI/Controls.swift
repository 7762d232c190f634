/// SwiftUI's controls and containers. Own code; sources beside each declaration.

/// Source: https://developer.apple.com/documentation/swiftui/text
public struct Text: StubView, Equatable {
    let text: String
    /// Source: https://developer.apple.com/documentation/swiftui/text/init(_:tablename:bundle:comment:)
    public init(_ key: LocalizedStringKey) { text = key.text }
    /// Source: https://developer.apple.com/documentation/swiftui/text/init(_:)-9d1g4
    @_disfavoredOverload public init<S: StringProtocol>(_ content: S) { text = String(content) }
    /// Source: https://developer.apple.com/documentation/swiftui/text/init(verbatim:)
    public init(verbatim content: String) { text = content }
    /// Source: https://developer.apple.com/documentation/swiftui/text/init(_:)-7qpk6
    @_disfavoredOverload public init(_ attributedContent: AttributedString) {
        text = String(attributedContent.characters)
    }
    /// Source: https://developer.apple.com/documentation/swiftui/text/init(_:style:)
    public init(_ date: Date, style: DateStyle) { text = "" }

    /// Source: https://developer.apple.com/documentation/swiftui/text/datestyle
    public struct DateStyle: Sendable {
        /// Source: https://developer.apple.com/documentation/swiftui/text/datestyle/time
        public static let time = DateStyle()
    }
}

/// Source: https://developer.apple.com/documentation/swiftui/image
public struct Image: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/image/init(systemname:)
    public init(systemName: String) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/label
public struct Label<Title: View, Icon: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/label/init(title:icon:)
    public init(@ViewBuilder title: () -> Title, @ViewBuilder icon: () -> Icon) {}
}

extension Label where Title == Text, Icon == Image {
    /// Source: https://developer.apple.com/documentation/swiftui/label/init(_:systemimage:)-5cmsr
    public init(_ titleKey: LocalizedStringKey, systemImage name: String) {}
    /// Source: https://developer.apple.com/documentation/swiftui/label/init(_:systemimage:)-4vrzp
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, systemImage name: String) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/buttonrole
public struct ButtonRole: Equatable, Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/buttonrole/destructive
    public static let destructive = ButtonRole()
}

/// Source: https://developer.apple.com/documentation/swiftui/button
public struct Button<Label: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/button/init(action:label:)
    public init(action: @escaping @MainActor () -> Void, @ViewBuilder label: () -> Label) {}
}

extension Button where Label == Text {
    /// Source: https://developer.apple.com/documentation/swiftui/button/init(_:action:)-1asy
    public init(_ titleKey: LocalizedStringKey, action: @escaping @MainActor () -> Void) {}
    /// Source: https://developer.apple.com/documentation/swiftui/button/init(_:role:action:)-8y5yk
    public init(_ titleKey: LocalizedStringKey, role: ButtonRole?, action: @escaping @MainActor () -> Void) {}
}

extension Button where Label == SwiftUI.Label<Text, Image> {
    /// Source: https://developer.apple.com/documentation/swiftui/button/init(_:systemimage:action:)
    public init(
        _ titleKey: LocalizedStringKey, systemImage: String, action: @escaping @MainActor () -> Void
    ) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/menu
public struct Menu<Label: View, Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/menu/init(content:label:)
    public init(@ViewBuilder content: () -> Content, @ViewBuilder label: () -> Label) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/sharelink
public struct ShareLink<Label: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/sharelink/init(item:subject:message:label:)-6flm3
    public init(item: String, @ViewBuilder label: () -> Label) {}
    /// Source: https://developer.apple.com/documentation/swiftui/sharelink/init(item:subject:message:label:)-7w4ha
    public init(item: URL, @ViewBuilder label: () -> Label) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/textfield
public struct TextField<Label: View>: StubView {}

extension TextField where Label == Text {
    /// Source: https://developer.apple.com/documentation/swiftui/textfield/init(_:text:)-44wvj
    public init(_ titleKey: LocalizedStringKey, text: Binding<String>) {}
    /// Source: https://developer.apple.com/documentation/swiftui/textfield/init(_:text:axis:)-8o8h9
    public init(_ titleKey: LocalizedStringKey, text: Binding<String>, axis: Axis) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/texteditor
public struct TextEditor: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/texteditor/init(text:)
    public init(text: Binding<String>) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/slider
public struct Slider<Label: View, ValueLabel: View>: StubView {}

extension Slider where ValueLabel == EmptyView {
    /// Source: https://developer.apple.com/documentation/swiftui/slider/init(value:in:step:label:oneditingchanged:)
    public init<V: BinaryFloatingPoint>(
        value: Binding<V>, in bounds: ClosedRange<V>, step: V.Stride, @ViewBuilder label: () -> Label
    ) where V.Stride: BinaryFloatingPoint {}
}

/// Source: https://developer.apple.com/documentation/swiftui/picker
public struct Picker<Label: View, SelectionValue: Hashable, Content: View>: StubView {}

extension Picker where Label == Text {
    /// Source: https://developer.apple.com/documentation/swiftui/picker/init(_:selection:content:)-6lwfn
    public init(
        _ titleKey: LocalizedStringKey, selection: Binding<SelectionValue>, @ViewBuilder content: () -> Content
    ) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/progressview
public struct ProgressView<Label: View, CurrentValueLabel: View>: StubView {}

extension ProgressView where CurrentValueLabel == EmptyView {
    /// Source: https://developer.apple.com/documentation/swiftui/progressview/init(label:)
    public init(@ViewBuilder label: () -> Label) {}
    /// Source: https://developer.apple.com/documentation/swiftui/progressview/init(value:total:label:)
    public init<V: BinaryFloatingPoint>(value: V?, total: V = 1.0, @ViewBuilder label: () -> Label) {}
}

extension ProgressView where Label == EmptyView, CurrentValueLabel == EmptyView {
    /// Source: https://developer.apple.com/documentation/swiftui/progressview/init()
    public init() {}
    /// Source: https://developer.apple.com/documentation/swiftui/progressview/init(value:total:)
    public init<V: BinaryFloatingPoint>(value: V?, total: V = 1.0) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/labeledcontent
public struct LabeledContent<Label: View, Content: View>: StubView {}

extension LabeledContent where Label == Text, Content == Text {
    /// Source: https://developer.apple.com/documentation/swiftui/labeledcontent/init(_:value:)-96zes
    public init<S: StringProtocol>(_ titleKey: LocalizedStringKey, value: S) {}
    /// Source: https://developer.apple.com/documentation/swiftui/labeledcontent/init(_:value:)-9d4rn
    @_disfavoredOverload public init<S1: StringProtocol, S2: StringProtocol>(_ title: S1, value: S2) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/contentunavailableview
public struct ContentUnavailableView<Label: View, Description: View, Actions: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/contentunavailableview/init(label:description:actions:)
    public init(
        @ViewBuilder label: () -> Label, @ViewBuilder description: () -> Description = { EmptyView() },
        @ViewBuilder actions: () -> Actions = { EmptyView() }
    ) {}
}

extension ContentUnavailableView where Label == SwiftUI.Label<Text, Image>, Description == Text?, Actions == EmptyView {
    /// Source: https://developer.apple.com/documentation/swiftui/contentunavailableview/init(_:systemimage:description:)
    public init(_ title: LocalizedStringKey, systemImage name: String, description: Text? = nil) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/axis
public enum Axis: Sendable {
    case horizontal, vertical
}

/// Source: https://developer.apple.com/documentation/swiftui/horizontalalignment
public struct HorizontalAlignment: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/horizontalalignment/leading
    public static let leading = HorizontalAlignment()
    /// Source: https://developer.apple.com/documentation/swiftui/horizontalalignment/center
    public static let center = HorizontalAlignment()
}

/// Source: https://developer.apple.com/documentation/swiftui/verticalalignment
public struct VerticalAlignment: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/verticalalignment/center
    public static let center = VerticalAlignment()
    /// Source: https://developer.apple.com/documentation/swiftui/verticalalignment/bottom
    public static let bottom = VerticalAlignment()
}

/// Source: https://developer.apple.com/documentation/swiftui/hstack
public struct HStack<Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/hstack/init(alignment:spacing:content:)
    public init(alignment: VerticalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/vstack
public struct VStack<Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/vstack/init(alignment:spacing:content:)
    public init(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content)
    {}
}

/// Source: https://developer.apple.com/documentation/swiftui/lazyvstack
public struct LazyVStack<Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/lazyvstack/init(alignment:spacing:pinnedviews:content:)
    public init(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content)
    {}
}

/// Source: https://developer.apple.com/documentation/swiftui/spacer
public struct Spacer: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/spacer/init(minlength:)
    public init(minLength: CGFloat? = nil) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/scrollview
public struct ScrollView<Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/scrollview/init(_:showsindicators:content:)
    public init(@ViewBuilder content: () -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/scrollviewreader
public struct ScrollViewReader<Content: View>: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/scrollviewreader/init(content:)
    public init(@ViewBuilder content: @escaping (ScrollViewProxy) -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/scrollviewproxy
@MainActor @preconcurrency
public struct ScrollViewProxy {
    /// Source: https://developer.apple.com/documentation/swiftui/scrollviewproxy/scrollto(_:anchor:)
    public func scrollTo<ID: Hashable>(_ id: ID, anchor: UnitPoint? = nil) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/unitpoint
public struct UnitPoint: Hashable, Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/unitpoint/bottom
    public static let bottom = UnitPoint()
}
