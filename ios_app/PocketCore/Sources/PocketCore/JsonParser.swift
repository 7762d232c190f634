// The grammar of RFC 8259 over bytes that are known to be UTF-8.

struct JsonParser {
    let bytes: UnsafeBufferPointer<UInt8>
    private var at = 0

    init(bytes: UnsafeBufferPointer<UInt8>) {
        self.bytes = bytes
    }

    mutating func document() throws -> JsonValue {
        let result = try value(depth: 0)
        skipSpace()
        if at < bytes.count { throw wrong("something follows the end") }
        return result
    }

    private func wrong(_ what: String) -> JsonError { .syntax(what, byte: at) }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }

    private mutating func take(_ byte: Character) -> Bool {
        skipSpace()
        guard next == byte.asciiValue else { return false }
        at += 1
        return true
    }

    private mutating func value(depth: Int) throws -> JsonValue {
        skipSpace()
        guard let byte = next else { throw wrong("it ends too early") }
        if depth > Json.maxDepth { throw wrong("it is nested too deeply") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return try string()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: return try word()
        }
    }

    private mutating func object(depth: Int) throws -> JsonValue {
        at += 1
        var entries: [JsonEntry] = []
        var seen: Set<ByteKey> = []
        if take("}") { return .object(entries) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\""), let key = try string().text else { throw wrong("a key is missing") }
            guard take(":") else { throw wrong("a colon is missing") }
            entries.append(JsonEntry(key, try value(depth: depth + 1)))
            if !seen.insert(ByteKey(key)).inserted { throw JsonError.duplicateKey(key) }
        } while take(",")
        guard take("}") else { throw wrong("an object has no end") }
        return .object(entries)
    }

    private mutating func array(depth: Int) throws -> JsonValue {
        at += 1
        var items: [JsonValue] = []
        if take("]") { return .array(items) }
        repeat { items.append(try value(depth: depth + 1)) } while take(",")
        guard take("]") else { throw wrong("a list has no end") }
        return .array(items)
    }

    private mutating func word() throws -> JsonValue {
        let words: [(String, JsonValue)] = [("null", .null), ("true", .bool(true)), ("false", .bool(false))]
        for (name, value) in words where follows(name) {
            at += name.utf8.count
            return value
        }
        for name in ["NaN", "Infinity"] where follows(name) { throw JsonError.constant(name) }
        throw wrong("a value is missing")
    }

    private func follows(_ word: String) -> Bool {
        bytes[at...].prefix(word.utf8.count).elementsEqual(word.utf8)
    }

    private mutating func digits() -> Int {
        let start = at
        while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at += 1 }
        return at - start
    }

    private mutating func number() throws -> JsonValue {
        let start = at
        if next == UInt8(ascii: "-") {
            at += 1
            if follows("Infinity") { throw JsonError.constant("-Infinity") }
        }
        if next == UInt8(ascii: "0") {
            at += 1
        } else if digits() == 0 {
            throw wrong("a number has no digits")
        }
        var isInteger = true
        if next == UInt8(ascii: ".") {
            isInteger = false
            at += 1
            if digits() == 0 { throw wrong("a number has no digits") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isInteger = false
            at += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
            if digits() == 0 { throw wrong("a number has no digits") }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isInteger { return Int64(text).map { .integer($0) } ?? .outsized(text) }
        guard let double = Double(text) else { throw wrong("a number cannot be read") }
        return .double(double)
    }

    private mutating func string() throws -> JsonValue {
        at += 1
        var out = ""
        var isBroken = false
        var start = at
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                out += String(decoding: bytes[start..<at], as: UTF8.self)
                at += 1
                return isBroken ? .broken(out) : .string(out)
            case UInt8(ascii: "\\"):
                out += String(decoding: bytes[start..<at], as: UTF8.self)
                at += 1
                let scalar = try escape()
                isBroken = isBroken || scalar == nil
                out.unicodeScalars.append(scalar ?? "\u{FFFD}")
                start = at
            case 0..<0x20:
                throw wrong("a control character stands in a text")
            default:
                at += 1
            }
        }
        throw wrong("a text has no end")
    }

    /// Reads what follows a backslash; nil: it was half of a surrogate pair.
    private mutating func escape() throws -> Unicode.Scalar? {
        guard let byte = next else { throw wrong("a text has no end") }
        at += 1
        let plain: [UInt8: Unicode.Scalar] = [
            UInt8(ascii: "\""): "\"", UInt8(ascii: "\\"): "\\", UInt8(ascii: "/"): "/", UInt8(ascii: "b"): "\u{8}",
            UInt8(ascii: "f"): "\u{C}", UInt8(ascii: "n"): "\n", UInt8(ascii: "r"): "\r", UInt8(ascii: "t"): "\t",
        ]
        if let scalar = plain[byte] { return scalar }
        guard byte == UInt8(ascii: "u") else { throw wrong("an escape is unknown") }
        let first = try hex()
        if let scalar = Unicode.Scalar(first) { return scalar }
        let before = at
        if first < 0xDC00, follows("\\u") {
            at += 2
            let second = try hex()
            if 0xDC00...0xDFFF ~= second {
                return Unicode.Scalar(0x10000 + ((first & 0x3FF) << 10 | second & 0x3FF))
            }
            at = before
        }
        return nil
    }

    private mutating func hex() throws -> UInt32 {
        guard at + 4 <= bytes.count else { throw wrong("an escape has no end") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[at])).hexDigitValue else {
                throw wrong("an escape is no number")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }
}

/// A text that is equal to another by its bytes, where a String takes canonically equivalent ones for equal.
struct ByteKey: Hashable {
    let text: String

    init(_ text: String) {
        self.text = text
    }

    static func == (left: ByteKey, right: ByteKey) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    func hash(into hasher: inout Hasher) {
        var text = self.text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
