// The one rule by which typed text never becomes a special token.
//
// The native tokenizer turns the TEXT of a special token into its id, so a typed end-of-turn marker would end the turn.

public enum Typed {
    /// Zero width space; word joiner where a special token itself holds the first.
    static let separators = ["\u{200B}", "\u{2060}"]

    /// Breaks every special token's text in `text` by an invisible character.
    ///
    /// 1. NUL characters are dropped: the sentencepiece reader would cut the prompt there.
    /// 2. The specials are taken longest first (in code points), then in code point order. Every occurrence, found from
    ///    left to right without overlap, gets the separator after its first code point; one that is a single code point
    ///    is replaced by the separator.
    /// 3. Step 2 is repeated until no special is left in the text.
    ///
    /// It ends: no special holds the separator, so an occurrence lies between separators, and each step either splits
    /// such a stretch or takes a character out of it.
    ///
    /// - Parameters:
    ///   - text: what a person typed (or a reply that is fed again).
    ///   - specials: texts of the special tokens; empty ones are ignored.
    /// - Throws: `PocketError`: the special tokens hold every separator that this rule knows.
    public static func neutralise(_ text: String, _ specials: [String]) throws -> String {
        let ordered = order(specials)
        let known = separators.map { Array($0.utf8) }
        guard let separator = known.first(where: { s in !ordered.contains { Utf8.contains($0, s) } }) else {
            throw PocketError(
                "special tokens hold both U+200B and U+2060, so typed text cannot be kept apart from them; "
                    + "rename those tokens in the tokenizer")
        }
        var bytes = text.utf8.filter { $0 != 0 }
        while ordered.contains(where: { Utf8.contains(bytes, $0) }) {
            for special in ordered {
                bytes = Utf8.replace(special, by: broken(special, separator), in: bytes)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Without NUL, each once, the longest first. Order by bytes is order by code point.
    private static func order(_ specials: [String]) -> [[UInt8]] {
        let unique = Set(specials.map { $0.utf8.filter { $0 != 0 } }).filter { !$0.isEmpty }
        let measured = unique.map { (bytes: $0, length: String(decoding: $0, as: UTF8.self).unicodeScalars.count) }
        return measured.sorted {
            $0.length != $1.length ? $0.length > $1.length : $0.bytes.lexicographicallyPrecedes($1.bytes)
        }.map(\.bytes)
    }

    private static func broken(_ special: [UInt8], _ separator: [UInt8]) -> [UInt8] {
        let first = special.first.map { $0 < 0x80 ? 1 : $0 < 0xE0 ? 2 : $0 < 0xF0 ? 3 : 4 } ?? 0
        return special.count > first ? Array(special[..<first]) + separator + Array(special[first...]) : separator
    }
}
