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
        var seen: Set<[UInt8]> = []
        if take("}") { return .object(entries) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\""), let key = try string().text else { throw wrong("a key is missing") }
            guard take(":") else { throw wrong("a colon is missing") }
            entries.append(JsonEntry(key, try value(depth: depth + 1)))
            if !seen.insert(Array(key.utf8)).inserted { throw JsonError.duplicateKey(key) }
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
        var out: [UInt8] = []
        var isBroken = false
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                at += 1
                let text = String(decoding: out, as: UTF8.self)
                return isBroken ? .broken(text) : .string(text)
            case UInt8(ascii: "\\"):
                at += 1
                if try !escape(into: &out) { isBroken = true }
            case 0..<0x20:
                throw wrong("a control character stands in a text")
            default:
                out.append(byte)
                at += 1
            }
        }
        throw wrong("a text has no end")
    }

    /// Reads what follows a backslash; false: it was half of a surrogate pair.
    private mutating func escape(into out: inout [UInt8]) throws -> Bool {
        guard let byte = next else { throw wrong("a text has no end") }
        at += 1
        let plain: [UInt8: UInt8] = [
            UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F, UInt8(ascii: "b"): 0x08,
            UInt8(ascii: "f"): 0x0C, UInt8(ascii: "n"): 0x0A, UInt8(ascii: "r"): 0x0D, UInt8(ascii: "t"): 0x09,
        ]
        if let character = plain[byte] {
            out.append(character)
            return true
        }
        guard byte == UInt8(ascii: "u") else { throw wrong("an escape is unknown") }
        let first = try hex()
        if let scalar = Unicode.Scalar(first) {
            out.append(contentsOf: Array(String(Character(scalar)).utf8))
            return true
        }
        let before = at
        if first < 0xDC00, follows("\\u") {
            at += 2
            let second = try hex()
            let joined = 0x10000 + ((first & 0x3FF) << 10 | second & 0x3FF)
            if 0xDC00...0xDFFF ~= second, let scalar = Unicode.Scalar(joined) {
                out.append(contentsOf: Array(String(Character(scalar)).utf8))
                return true
            }
            at = before
        }
        out.append(contentsOf: [0xEF, 0xBF, 0xBD])
        return false
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
