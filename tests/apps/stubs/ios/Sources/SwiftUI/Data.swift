/// SwiftUI's property wrappers and values. Own code; sources beside each declaration.

import UniformTypeIdentifiers

/// Source: https://developer.apple.com/documentation/swiftui/state
@propertyWrapper
public struct State<Value> {
    private final class Box {
        var value: Value
        init(_ value: Value) { self.value = value }
    }

    private let box: Box

    /// Source: https://developer.apple.com/documentation/swiftui/state/init(wrappedvalue:)
    public init(wrappedValue value: Value) { box = Box(value) }
    /// Source: https://developer.apple.com/documentation/swiftui/state/wrappedvalue
    public var wrappedValue: Value {
        get { box.value }
        nonmutating set { box.value = newValue }
    }
    /// Source: https://developer.apple.com/documentation/swiftui/state/projectedvalue
    public var projectedValue: Binding<Value> { Binding(get: { box.value }, set: { box.value = $0 }) }
}

extension State where Value: ExpressibleByNilLiteral {
    /// Source: https://developer.apple.com/documentation/swiftui/state/init()
    public init() { self.init(wrappedValue: nil) }
}

/// Source: https://developer.apple.com/documentation/swiftui/binding
@propertyWrapper @dynamicMemberLookup
public struct Binding<Value> {
    private let read: () -> Value
    private let write: (Value) -> Void

    /// Source: https://developer.apple.com/documentation/swiftui/binding/init(get:set:)
    public init(get: @escaping () -> Value, set: @escaping (Value) -> Void) {
        read = get
        write = set
    }
    /// Source: https://developer.apple.com/documentation/swiftui/binding/wrappedvalue
    public var wrappedValue: Value {
        get { read() }
        nonmutating set { write(newValue) }
    }
    /// Source: https://developer.apple.com/documentation/swiftui/binding/projectedvalue
    public var projectedValue: Binding<Value> { self }
    /// Source: https://developer.apple.com/documentation/swiftui/binding/subscript(dynamicmember:)
    public subscript<Subject>(dynamicMember keyPath: WritableKeyPath<Value, Subject>) -> Binding<Subject> {
        Binding<Subject>(
            get: { read()[keyPath: keyPath] },
            set: {
                var value = read()
                value[keyPath: keyPath] = $0
                write(value)
            })
    }
}

/// Source: https://developer.apple.com/documentation/swiftui/bindable
@propertyWrapper @dynamicMemberLookup
public struct Bindable<Value: AnyObject & Observable> {
    /// Source: https://developer.apple.com/documentation/swiftui/bindable/wrappedvalue
    public var wrappedValue: Value
    /// Source: https://developer.apple.com/documentation/swiftui/bindable/projectedvalue
    public var projectedValue: Bindable<Value> { self }
    /// Source: https://developer.apple.com/documentation/swiftui/bindable/init(wrappedvalue:)
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    /// Source: https://developer.apple.com/documentation/swiftui/bindable/subscript(dynamicmember:)
    public subscript<Subject>(dynamicMember keyPath: ReferenceWritableKeyPath<Value, Subject>) -> Binding<Subject> {
        Binding(get: { wrappedValue[keyPath: keyPath] }, set: { wrappedValue[keyPath: keyPath] = $0 })
    }
}

/// Source: https://developer.apple.com/documentation/swiftui/environmentvalues
public struct EnvironmentValues: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/environmentvalues/scenephase
    public var scenePhase = ScenePhase.active
    /// Source: https://developer.apple.com/documentation/swiftui/environmentvalues/dismiss
    public var dismiss: DismissAction { DismissAction() }
}

/// Source: https://developer.apple.com/documentation/swiftui/environment
@propertyWrapper
public struct Environment<Value> {
    private let keyPath: KeyPath<EnvironmentValues, Value>
    /// Source: https://developer.apple.com/documentation/swiftui/environment/init(_:)-8slkf
    public init(_ keyPath: KeyPath<EnvironmentValues, Value>) { self.keyPath = keyPath }
    /// Source: https://developer.apple.com/documentation/swiftui/environment/wrappedvalue
    public var wrappedValue: Value { EnvironmentValues()[keyPath: keyPath] }
}

/// Source: https://developer.apple.com/documentation/swiftui/dismissaction
public struct DismissAction: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/dismissaction/callasfunction()
    @MainActor public func callAsFunction() {}
}

/// Source: https://developer.apple.com/documentation/swiftui/localizedstringkey
public struct LocalizedStringKey: Equatable, ExpressibleByStringInterpolation {
    let text: String
    /// Source: https://developer.apple.com/documentation/swiftui/localizedstringkey/init(stringliteral:)
    public init(stringLiteral value: String) { text = value }
}

/// Source: https://developer.apple.com/documentation/swiftui/color
// swift-format-ignore: DontRepeatTypeInStaticProperties
public struct Color: StubView, ShapeStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/color/accentcolor
    public static let accentColor = Color()
    /// Source: https://developer.apple.com/documentation/swiftui/color/opacity(_:)
    public func opacity(_ opacity: Double) -> Color { self }
}

/// Source: https://developer.apple.com/documentation/swiftui/shapestyle
public protocol ShapeStyle: Sendable {}

/// No part of SwiftUI: one of the styles below.
public struct StubStyle: ShapeStyle {}

extension ShapeStyle where Self == StubStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/shapestyle/secondary
    public static var secondary: StubStyle { StubStyle() }
    /// Source: https://developer.apple.com/documentation/swiftui/shapestyle/bar
    public static var bar: StubStyle { StubStyle() }
}

extension ShapeStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/shapestyle/opacity(_:)
    public func opacity(_ opacity: Double) -> some ShapeStyle { self }
}

/// Source: https://developer.apple.com/documentation/swiftui/font
public struct Font: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/font/title2
    public static let title2 = Font()
    /// Source: https://developer.apple.com/documentation/swiftui/font/headline
    public static let headline = Font()
    /// Source: https://developer.apple.com/documentation/swiftui/font/subheadline
    public static let subheadline = Font()
    /// Source: https://developer.apple.com/documentation/swiftui/font/footnote
    public static let footnote = Font()
    /// Source: https://developer.apple.com/documentation/swiftui/font/caption
    public static let caption = Font()
    /// Source: https://developer.apple.com/documentation/swiftui/font/caption2
    public static let caption2 = Font()
    /// Source: https://developer.apple.com/documentation/swiftui/font/monospaced()
    public func monospaced() -> Font { self }
    /// Source: https://developer.apple.com/documentation/swiftui/font/monospaceddigit()
    public func monospacedDigit() -> Font { self }
}

/// Source: https://developer.apple.com/documentation/swiftui/shape
public protocol Shape: View, Sendable {}

extension Shape {
    /// Source: https://developer.apple.com/documentation/swiftui/shape/fill(_:style:)
    public func fill<S: ShapeStyle>(_ content: S) -> some View { ModifiedContent<Self, S>() }
}

/// Source: https://developer.apple.com/documentation/swiftui/rectangle
public struct Rectangle: Shape, StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/rectangle/init()
    public init() {}
}

/// Source: https://developer.apple.com/documentation/swiftui/roundedrectangle
public struct RoundedRectangle: Shape, StubView {
    /// Source: https://developer.apple.com/documentation/swiftui/roundedrectangle/init(cornerradius:style:)
    public init(cornerRadius: CGFloat) {}
}
