/// Texts of Apple's Foundation that Linux's has not. Own code; sources beside each declaration.

import Foundation

extension String {
    /// Source: https://developer.apple.com/documentation/swift/string/localizationvalue
    public struct LocalizationValue: ExpressibleByStringInterpolation {
        let text: String
        /// Source: https://developer.apple.com/documentation/swift/string/localizationvalue/init(stringliteral:)
        public init(stringLiteral value: String) { text = value }
    }

    /// Source: https://developer.apple.com/documentation/swift/string/init(localized:table:bundle:locale:comment:)
    public init(localized keyAndValue: LocalizationValue) { self = keyAndValue.text }
}

extension AttributedString {
    /// Source: https://developer.apple.com/documentation/foundation/attributedstring/markdownparsingoptions
    public struct MarkdownParsingOptions: Sendable {
        /// Source: https://developer.apple.com/documentation/foundation/attributedstring/markdownparsingoptions/interpretedsyntax-swift.enum
        public enum InterpretedSyntax: Sendable {
            case full, inlineOnly, inlineOnlyPreservingWhitespace
        }
        /// Source: https://developer.apple.com/documentation/foundation/attributedstring/markdownparsingoptions/init(allowsextendedattributes:interpretedsyntax:failurepolicy:languagecode:appliessourcepositionattributes:)
        public init(interpretedSyntax: InterpretedSyntax = .full) {}
    }

    /// Source: https://developer.apple.com/documentation/foundation/attributedstring/init(markdown:options:baseurl:)-52n3u
    public init(markdown: String, options: MarkdownParsingOptions = .init(), baseURL: URL? = nil) throws {
        self.init(markdown)
    }
}
