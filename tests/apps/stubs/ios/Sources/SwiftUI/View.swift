/// SwiftUI's views as types only: enough to check that the app's screens are put together as SwiftUI allows.
///
/// Own code. Every declaration names the page of Apple's documentation that its signature was taken from. Nothing here
/// draws.

@_exported import Foundation
@_exported import Observation

/// Source: https://developer.apple.com/documentation/swiftui/view
@MainActor @preconcurrency
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    /// Source: https://developer.apple.com/documentation/swift/never
    public var body: Never { fatalError("a stub draws nothing") }
}

/// No part of SwiftUI: a view without parts, as Text or Image.
public protocol StubView: View where Body == Never {}

extension StubView {
    /// No part of SwiftUI.
    public var body: Never { fatalError("a stub draws nothing") }
}

/// Source: https://developer.apple.com/documentation/swiftui/emptyview
public struct EmptyView: StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/emptyview/init()
    nonisolated public init() {}
}

/// Source: https://developer.apple.com/documentation/swiftui/tupleview
// swift-format-ignore: UseSynthesizedInitializer
public struct TupleView<T>: StubView {
    nonisolated init() {}
}

/// Source: https://developer.apple.com/documentation/swiftui/_conditionalcontent
// swift-format-ignore: UseSynthesizedInitializer
public struct _ConditionalContent<TrueContent, FalseContent> {
    nonisolated init() {}
}

extension _ConditionalContent: View, StubView where TrueContent: View, FalseContent: View {}

/// Source: https://developer.apple.com/documentation/swiftui/modifiedcontent
public struct ModifiedContent<Content, Modifier>: StubView {}

extension Optional: View where Wrapped: View {
    /// Source: https://developer.apple.com/documentation/swiftui/view-implementations
    public var body: Never { fatalError("a stub draws nothing") }
}

/// Source: https://developer.apple.com/documentation/swiftui/viewbuilder
@resultBuilder
public struct ViewBuilder {
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildexpression(_:)
    public static func buildExpression<Content: View>(_ content: Content) -> Content { content }
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildblock()
    public static func buildBlock() -> EmptyView { EmptyView() }
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildblock(_:)
    public static func buildBlock<Content: View>(_ content: Content) -> Content { content }
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildblock(_:)-46zhn
    public static func buildBlock<each Content: View>(_ content: repeat each Content) -> TupleView<
        (repeat each Content)
    > {
        TupleView()
    }
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildif(_:)
    public static func buildIf<Content: View>(_ content: Content?) -> Content? { content }
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildeither(first:)
    public static func buildEither<T: View, F: View>(first: T) -> _ConditionalContent<T, F> { _ConditionalContent() }
    /// Source: https://developer.apple.com/documentation/swiftui/viewbuilder/buildeither(second:)
    public static func buildEither<T: View, F: View>(second: F) -> _ConditionalContent<T, F> { _ConditionalContent() }
}

/// Source: https://developer.apple.com/documentation/swiftui/dynamicviewcontent
public protocol DynamicViewContent: View {}

extension DynamicViewContent {
    /// Source: https://developer.apple.com/documentation/swiftui/dynamicviewcontent/ondelete(perform:)
    public func onDelete(perform action: ((IndexSet) -> Void)?) -> some DynamicViewContent {
        StubDynamicContent()
    }
}

/// No part of SwiftUI.
struct StubDynamicContent: DynamicViewContent, StubView {}

/// Source: https://developer.apple.com/documentation/swiftui/foreach
public struct ForEach<Data: RandomAccessCollection, ID: Hashable, Content: View>: DynamicViewContent, StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/foreach/init(_:id:content:)
    public init(
        _ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content
    ) {}
}

extension ForEach where ID == Data.Element.ID, Data.Element: Identifiable {
    /// Source: https://developer.apple.com/documentation/swiftui/foreach/init(_:content:)
    public init(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/app
@MainActor @preconcurrency
public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}

extension App {
    /// Source: https://developer.apple.com/documentation/swiftui/app/main()
    public static func main() { fatalError("a stub starts nothing") }
}

/// Source: https://developer.apple.com/documentation/swiftui/scene
@MainActor @preconcurrency
public protocol Scene {}

/// Source: https://developer.apple.com/documentation/swiftui/scenebuilder
@resultBuilder
public struct SceneBuilder {
    /// Source: https://developer.apple.com/documentation/swiftui/scenebuilder/buildblock(_:)
    public static func buildBlock<Content: Scene>(_ content: Content) -> Content { content }
}

/// Source: https://developer.apple.com/documentation/swiftui/windowgroup
public struct WindowGroup<Content: View>: Scene {
    /// Source: https://developer.apple.com/documentation/swiftui/windowgroup/init(content:)
    public init(@ViewBuilder content: @escaping () -> Content) {}
}

/// Source: https://developer.apple.com/documentation/swiftui/scenephase
public enum ScenePhase: Comparable, Sendable {
    case background, inactive, active
}

extension Scene {
    /// Source: https://developer.apple.com/documentation/swiftui/scene/onchange(of:initial:_:)
    public func onChange<V: Equatable>(
        of value: V, initial: Bool = false, _ action: @escaping (_ oldValue: V, _ newValue: V) -> Void
    ) -> some Scene { self }
}

/// Source: https://developer.apple.com/documentation/swiftui/toolbarcontent
@MainActor @preconcurrency
public protocol ToolbarContent {}

/// No part of SwiftUI.
public struct StubToolbar: ToolbarContent {}

/// Source: https://developer.apple.com/documentation/swiftui/toolbarcontentbuilder
@resultBuilder
public struct ToolbarContentBuilder {
    /// Source: https://developer.apple.com/documentation/swiftui/toolbarcontentbuilder/buildblock(_:)
    public static func buildBlock<Content: ToolbarContent>(_ content: Content) -> Content { content }
    /// Source: https://developer.apple.com/documentation/swiftui/toolbarcontentbuilder/buildblock(_:_:)
    @MainActor public static func buildBlock<A: ToolbarContent, B: ToolbarContent>(
        _ first: A, _ second: B
    ) -> some ToolbarContent { StubToolbar() }
}

/// Source: https://developer.apple.com/documentation/swiftui/toolbaritemplacement
public struct ToolbarItemPlacement: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/toolbaritemplacement/topbarleading
    public static let topBarLeading = ToolbarItemPlacement()
    /// Source: https://developer.apple.com/documentation/swiftui/toolbaritemplacement/topbartrailing
    public static let topBarTrailing = ToolbarItemPlacement()
    /// Source: https://developer.apple.com/documentation/swiftui/toolbaritemplacement/confirmationaction
    public static let confirmationAction = ToolbarItemPlacement()
    /// Source: https://developer.apple.com/documentation/swiftui/toolbaritemplacement/cancellationaction
    public static let cancellationAction = ToolbarItemPlacement()
}

/// Source: https://developer.apple.com/documentation/swiftui/toolbaritem
public struct ToolbarItem<Content: View>: ToolbarContent {
    /// Source: https://developer.apple.com/documentation/swiftui/toolbaritem/init(placement:content:)
    public init(placement: ToolbarItemPlacement, @ViewBuilder content: () -> Content) {}
}
