// JSON as values: read strictly, written with sorted keys. Integers are kept apart from doubles, keys in their order.

/// One member of an object.
public struct JsonEntry: Equatable, Sendable {
    public let key: String
    public let value: JsonValue

    public init(_ key: String, _ value: JsonValue) {
        self.key = key
        self.value = value
    }
}

/// An object's members in the order of the document; no key stands twice.
public struct JsonObject: Equatable, Sendable {
    public let entries: [JsonEntry]

    public init(_ entries: [JsonEntry]) {
        self.entries = entries
    }

    public var keys: [String] { entries.map(\.key) }

    /// By the key's bytes, never by canonical equivalence.
    public subscript(key: String) -> JsonValue? {
        entries.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }
}

public enum JsonValue: Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// An integer beyond 64 bits, as its digits.
    case outsized(String)
    case double(Double)
    case string(String)
    /// A text with half of a surrogate pair, which stands as U+FFFD here.
    case broken(String)
    case array([JsonValue])
    case object(JsonObject)

    public static func object(_ entries: [JsonEntry]) -> JsonValue { .object(JsonObject(entries)) }

    /// The member of that key, or nil where there is none or this is no object.
    public subscript(key: String) -> JsonValue? {
        if case .object(let object) = self { return object[key] }
        return nil
    }

    /// The text of a string, also of one that was broken.
    public var text: String? {
        switch self {
        case .string(let text), .broken(let text): return text
        default: return nil
        }
    }

    public var int: Int? {
        if case .integer(let number) = self { return Int(number) }
        return nil
    }

    /// A number, written as an integer or not.
    public var number: Double? {
        switch self {
        case .integer(let number): return Double(number)
        case .double(let number): return number
        default: return nil
        }
    }

    public var bool: Bool? {
        if case .bool(let flag) = self { return flag }
        return nil
    }

    public var items: [JsonValue]? {
        if case .array(let items) = self { return items }
        return nil
    }
}

/// Why a text is no JSON.
public enum JsonError: Error, Equatable {
    case syntax(String, byte: Int)
    case duplicateKey(String)
    /// NaN or an infinity.
    case constant(String)
}

public enum Json {
    /// Deeper documents are refused; a hostile one must not exhaust the stack.
    static let maxDepth = 256

    /// Reads a whole document.
    ///
    /// - Throws: `JsonError`: bytes that are not UTF-8 or not JSON, a key twice in one object, NaN.
    public static func read(_ bytes: [UInt8]) throws -> JsonValue {
        guard Utf8.isWhole(bytes) else { throw JsonError.syntax("it is not UTF-8", byte: 0) }
        return try bytes.withUnsafeBufferPointer { buffer in
            var parser = JsonParser(bytes: buffer)
            return try parser.document()
        }
    }

    public static func read(_ text: String) throws -> JsonValue { try read(Array(text.utf8)) }

    /// Two spaces of indentation, keys sorted by code point, nothing escaped but what must be.
    public static func write(_ value: JsonValue) -> String {
        var out = ""
        write(value, indent: "", into: &out)
        return out + "\n"
    }

    private static func write(_ value: JsonValue, indent: String, into out: inout String) {
        let inner = indent + "  "
        switch value {
        case .null: out += "null"
        case .bool(let flag): out += flag ? "true" : "false"
        case .integer(let number): out += String(number)
        case .outsized(let digits): out += digits
        case .double(let number): out += number.isFinite ? Shown.repr(number) : "null"
        case .string(let text), .broken(let text): quote(text, into: &out)
        case .array(let items):
            let parts = items.map { item in { (out: inout String) in write(item, indent: inner, into: &out) } }
            join(parts, "[", "]", indent: indent, into: &out)
        case .object(let object):
            let sorted = object.entries.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            let parts = sorted.map { entry in
                { (out: inout String) in
                    quote(entry.key, into: &out)
                    out += ": "
                    write(entry.value, indent: inner, into: &out)
                }
            }
            join(parts, "{", "}", indent: indent, into: &out)
        }
    }

    private static func join(
        _ parts: [(inout String) -> Void], _ open: String, _ close: String, indent: String, into out: inout String
    ) {
        out += open
        for (index, part) in parts.enumerated() {
            out += (index == 0 ? "\n" : ",\n") + indent + "  "
            part(&out)
        }
        out += parts.isEmpty ? close : "\n" + indent + close
    }

    private static func quote(_ text: String, into out: inout String) {
        out += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case "\u{8}": out += "\\b"
            case "\u{c}": out += "\\f"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        out += "\""
    }
}

extension JsonError {
    /// In words, for a sentence.
    public var reason: String {
        switch self {
        case .syntax(let what, let byte): return "\(what), at byte \(byte)"
        case .duplicateKey(let key): return "the key \(Shown.short(key)) stands twice in one object"
        case .constant(let name): return "it holds \(name), which is not JSON"
        }
    }
}
