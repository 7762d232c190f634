/// The modifiers of SwiftUI that decide how a view looks. Own code; sources beside each declaration.

extension View {
    /// Source: https://developer.apple.com/documentation/swiftui/view/padding(_:_:)
    public func padding(_ edges: Edge.Set = .all, _ length: CGFloat? = nil) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/padding(_:)
    public func padding(_ length: CGFloat) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/frame(width:height:alignment:)
    public func frame(
        width: CGFloat? = nil, height: CGFloat? = nil, alignment: Alignment = .center
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/frame(minwidth:idealwidth:maxwidth:minheight:idealheight:maxheight:alignment:)
    public func frame(
        minWidth: CGFloat? = nil, idealWidth: CGFloat? = nil, maxWidth: CGFloat? = nil, minHeight: CGFloat? = nil,
        idealHeight: CGFloat? = nil, maxHeight: CGFloat? = nil, alignment: Alignment = .center
    ) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/background(_:ignoressafeareaedges:)
    public func background<S: ShapeStyle>(_ style: S) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/background(_:in:fillstyle:)
    public func background<S: ShapeStyle, T: Shape>(_ style: S, in shape: T) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/foregroundstyle(_:)
    public func foregroundStyle<S: ShapeStyle>(_ style: S) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/font(_:)
    public func font(_ font: Font?) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/multilinetextalignment(_:)
    public func multilineTextAlignment(_ alignment: TextAlignment) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/linelimit(_:)-4hzfa
    public func lineLimit(_ limit: ClosedRange<Int>) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/textselection(_:)
    public func textSelection<S: TextSelectability>(_ selectability: S) -> some View { modified() }

    /// Source: https://developer.apple.com/documentation/swiftui/view/textfieldstyle(_:)
    public func textFieldStyle<S: TextFieldStyle>(_ style: S) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/buttonstyle(_:)-7qx1
    public func buttonStyle<S: PrimitiveButtonStyle>(_ style: S) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/labelstyle(_:)
    public func labelStyle<S: LabelStyle>(_ style: S) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/progressviewstyle(_:)
    public func progressViewStyle<S: ProgressViewStyle>(_ style: S) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/scrolldismisseskeyboard(_:)
    public func scrollDismissesKeyboard(_ mode: ScrollDismissesKeyboardMode) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/defaultscrollanchor(_:)
    public func defaultScrollAnchor(_ anchor: UnitPoint?) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/keyboardtype(_:)
    public func keyboardType(_ type: UIKeyboardType) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/textinputautocapitalization(_:)
    public func textInputAutocapitalization(_ value: TextInputAutocapitalization?) -> some View { modified() }
    /// Source: https://developer.apple.com/documentation/swiftui/view/autocorrectiondisabled(_:)
    public func autocorrectionDisabled(_ disable: Bool = true) -> some View { modified() }
}

/// Source: https://developer.apple.com/documentation/swiftui/edge
public enum Edge: Sendable {
    case top, leading, bottom, trailing

    /// Source: https://developer.apple.com/documentation/swiftui/edge/set
    public struct Set: OptionSet, Sendable {
        /// Source: https://developer.apple.com/documentation/swiftui/edge/set/rawvalue
        public let rawValue: Int
        /// Source: https://developer.apple.com/documentation/swiftui/edge/set/init(rawvalue:)
        public init(rawValue: Int) { self.rawValue = rawValue }
        /// Source: https://developer.apple.com/documentation/swiftui/edge/set/all
        public static let all = Set(rawValue: 15)
        /// Source: https://developer.apple.com/documentation/swiftui/edge/set/horizontal
        public static let horizontal = Set(rawValue: 10)
        /// Source: https://developer.apple.com/documentation/swiftui/edge/set/vertical
        public static let vertical = Set(rawValue: 5)
    }
}

/// Source: https://developer.apple.com/documentation/swiftui/alignment
public struct Alignment: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/alignment/center
    public static let center = Alignment()
    /// Source: https://developer.apple.com/documentation/swiftui/alignment/leading
    public static let leading = Alignment()
}

/// Source: https://developer.apple.com/documentation/swiftui/textalignment
public enum TextAlignment: Sendable {
    case leading, center, trailing
}

/// Source: https://developer.apple.com/documentation/swiftui/textselectability
public protocol TextSelectability {}
/// Source: https://developer.apple.com/documentation/swiftui/enabledtextselectability
public struct EnabledTextSelectability: TextSelectability {}
extension TextSelectability where Self == EnabledTextSelectability {
    /// Source: https://developer.apple.com/documentation/swiftui/textselectability/enabled
    public static var enabled: EnabledTextSelectability { EnabledTextSelectability() }
}

/// Source: https://developer.apple.com/documentation/swiftui/textfieldstyle
public protocol TextFieldStyle {}
/// Source: https://developer.apple.com/documentation/swiftui/roundedbordertextfieldstyle
public struct RoundedBorderTextFieldStyle: TextFieldStyle {}
extension TextFieldStyle where Self == RoundedBorderTextFieldStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/textfieldstyle/roundedborder
    public static var roundedBorder: RoundedBorderTextFieldStyle { RoundedBorderTextFieldStyle() }
}

/// Source: https://developer.apple.com/documentation/swiftui/primitivebuttonstyle
public protocol PrimitiveButtonStyle {}
/// Source: https://developer.apple.com/documentation/swiftui/borderedbuttonstyle
public struct BorderedButtonStyle: PrimitiveButtonStyle {}
/// Source: https://developer.apple.com/documentation/swiftui/borderedprominentbuttonstyle
public struct BorderedProminentButtonStyle: PrimitiveButtonStyle {}
extension PrimitiveButtonStyle where Self == BorderedButtonStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/primitivebuttonstyle/bordered
    public static var bordered: BorderedButtonStyle { BorderedButtonStyle() }
}
extension PrimitiveButtonStyle where Self == BorderedProminentButtonStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/primitivebuttonstyle/borderedprominent
    public static var borderedProminent: BorderedProminentButtonStyle { BorderedProminentButtonStyle() }
}

/// Source: https://developer.apple.com/documentation/swiftui/labelstyle
public protocol LabelStyle {}
/// Source: https://developer.apple.com/documentation/swiftui/icononlylabelstyle
public struct IconOnlyLabelStyle: LabelStyle {}
extension LabelStyle where Self == IconOnlyLabelStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/labelstyle/icononly
    public static var iconOnly: IconOnlyLabelStyle { IconOnlyLabelStyle() }
}

/// Source: https://developer.apple.com/documentation/swiftui/progressviewstyle
public protocol ProgressViewStyle {}
/// Source: https://developer.apple.com/documentation/swiftui/linearprogressviewstyle
public struct LinearProgressViewStyle: ProgressViewStyle {}
extension ProgressViewStyle where Self == LinearProgressViewStyle {
    /// Source: https://developer.apple.com/documentation/swiftui/progressviewstyle/linear
    public static var linear: LinearProgressViewStyle { LinearProgressViewStyle() }
}

/// Source: https://developer.apple.com/documentation/swiftui/scrolldismisseskeyboardmode
public struct ScrollDismissesKeyboardMode: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/scrolldismisseskeyboardmode/interactively
    public static let interactively = ScrollDismissesKeyboardMode()
}

/// Source: https://developer.apple.com/documentation/uikit/uikeyboardtype
public enum UIKeyboardType: Sendable {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    case `default`, URL
}

/// Source: https://developer.apple.com/documentation/swiftui/textinputautocapitalization
public struct TextInputAutocapitalization: Sendable {
    /// Source: https://developer.apple.com/documentation/swiftui/textinputautocapitalization/never
    public static var never: TextInputAutocapitalization { TextInputAutocapitalization() }
}
