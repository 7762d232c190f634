// Joins pieces of bytes into whole UTF-8 text.
//
// A token may end inside a character: its bytes wait for the rest. Bytes that can never become a character turn into
// U+FFFD, one for each maximal part of a well-formed sequence, as the Unicode standard recommends (chapter 3, table 3-7
// and "U+FFFD Substitution of Maximal Subparts"). Texts are compared as bytes everywhere in the core: Swift's own
// comparison takes canonically equivalent texts for equal.

/// A decoder that keeps an unfinished character between calls.
public struct Utf8Joiner: Sendable {
    private static let replacement: Unicode.Scalar = "\u{FFFD}"

    /// Continuation bytes that the open character still needs; 0 = none is open.
    private var missing = 0
    /// Its bits so far.
    private var value: UInt32 = 0
    /// The next byte must lie in low...high.
    private var low: UInt8 = 0x80
    private var high: UInt8 = 0xBF

    public init() {}

    /// Takes the next bytes and returns the characters that are complete now.
    public mutating func push(_ data: [UInt8]) -> String {
        var out = String.UnicodeScalarView()
        for byte in data {
            if missing > 0 {
                if low...high ~= byte {
                    resume(byte, &out)
                    continue
                }
                missing = 0  // the open character is broken off; this byte starts afresh
                out.append(Self.replacement)
            }
            start(byte, &out)
        }
        return String(out)
    }

    /// Ends the stream: an unfinished character becomes one U+FFFD.
    public mutating func flush() -> String {
        defer { missing = 0 }
        return missing > 0 ? "\u{FFFD}" : ""
    }

    private mutating func resume(_ byte: UInt8, _ out: inout String.UnicodeScalarView) {
        value = value << 6 | UInt32(byte & 0x3F)
        missing -= 1
        (low, high) = (0x80, 0xBF)
        if missing == 0 { out.append(Unicode.Scalar(value) ?? Self.replacement) }
    }

    /// Handles a byte outside any open character; table 3-7, row by row.
    private mutating func start(_ byte: UInt8, _ out: inout String.UnicodeScalarView) {
        (low, high) = (0x80, 0xBF)
        switch byte {
        case 0..<0x80:
            out.append(Unicode.Scalar(byte))
        case 0xC2...0xDF:
            (missing, value) = (1, UInt32(byte & 0x1F))
        case 0xE0...0xEF:
            (missing, value) = (2, UInt32(byte & 0x0F))
            if byte == 0xE0 { low = 0xA0 }  // below is an overlong form
            if byte == 0xED { high = 0x9F }  // above are surrogates
        case 0xF0...0xF4:
            (missing, value) = (3, UInt32(byte & 0x07))
            if byte == 0xF0 { low = 0x90 }  // below is an overlong form
            if byte == 0xF4 { high = 0x8F }  // above is beyond U+10FFFF
        default:
            out.append(Self.replacement)  // a lone continuation byte, C0, C1, or F5 and up
        }
    }
}

public enum Utf8 {
    /// The text that the bytes are by themselves, or nil when they begin or end inside a character.
    public static func wholeText(_ data: [UInt8]) -> String? {
        var joiner = Utf8Joiner()
        let text = joiner.push(data) + joiner.flush()
        return text.utf8.elementsEqual(data) ? text : nil
    }

    /// Whether the bytes are well-formed.
    static func isWhole(_ data: [UInt8]) -> Bool {
        String(decoding: data, as: UTF8.self).utf8.elementsEqual(data)
    }

    /// Where a pattern begins at `from` or after it, or nil.
    static func find(_ pattern: [UInt8], in text: [UInt8], from: Int = 0) -> Int? {
        guard let head = pattern.first, text.count >= pattern.count else { return nil }
        return text.withUnsafeBufferPointer { text in
            pattern.withUnsafeBufferPointer { pattern in
                var at = from
                let last = text.count - pattern.count
                outer: while at <= last {
                    if text[at] != head {
                        at += 1
                        continue
                    }
                    for offset in 1..<max(1, pattern.count) where text[at + offset] != pattern[offset] {
                        at += 1
                        continue outer
                    }
                    return at
                }
                return nil
            }
        }
    }

    static func contains(_ text: [UInt8], _ pattern: [UInt8]) -> Bool { find(pattern, in: text) != nil }

    /// Every occurrence, from left to right without overlap, replaced.
    static func replace(_ pattern: [UInt8], by other: [UInt8], in text: [UInt8]) -> [UInt8] {
        guard var found = find(pattern, in: text) else { return text }
        var out: [UInt8] = []
        var at = 0
        while true {
            out += text[at..<found]
            out += other
            at = found + pattern.count
            guard let more = find(pattern, in: text, from: at) else { break }
            found = more
        }
        return out + text[at...]
    }
}
