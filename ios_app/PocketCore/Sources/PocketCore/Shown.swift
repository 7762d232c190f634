// How a message repeats a wrong value: as Python writes it, so that all three cores say the same sentence.

enum Shown {
    static let maxLength = 60

    /// A value on one line, and short.
    static func short(_ value: JsonValue) -> String {
        switch value {
        case .array: return "a list"
        case .object: return "an object"
        default: return cut(repr(value))
        }
    }

    static func short(_ text: String) -> String { cut(repr(text)) }

    /// Python's repr of a parsed JSON value.
    static func repr(_ value: JsonValue) -> String {
        switch value {
        case .null: return "None"
        case .bool(let flag): return flag ? "True" : "False"
        case .integer(let number): return String(number)
        case .outsized(let digits): return digits
        case .double(let number): return repr(number)
        case .string(let text), .broken(let text): return repr(text)
        case .array(let items): return "[" + items.map(repr).joined(separator: ", ") + "]"
        case .object(let object):
            return "{" + object.entries.map { repr($0.key) + ": " + repr($0.value) }.joined(separator: ", ") + "}"
        }
    }

    /// Both languages write the shortest digits that read back equal.
    static func repr(_ number: Double) -> String { number.description }

    /// Python's repr of a text: single quotes, unless only those occur in it; what does not print is escaped.
    static func repr(_ text: String) -> String {
        let scalars = text.unicodeScalars
        let quote: Unicode.Scalar = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
        var out = String.UnicodeScalarView()
        out.append(quote)
        for scalar in scalars {
            switch scalar {
            case "\\": out.append(contentsOf: "\\\\".unicodeScalars)
            case "\n": out.append(contentsOf: "\\n".unicodeScalars)
            case "\r": out.append(contentsOf: "\\r".unicodeScalars)
            case "\t": out.append(contentsOf: "\\t".unicodeScalars)
            case quote: out.append(contentsOf: ["\\", quote])
            default:
                if prints(scalar) {
                    out.append(scalar)
                } else {
                    out.append(contentsOf: escape(scalar.value).unicodeScalars)
                }
            }
        }
        out.append(quote)
        return String(out)
    }

    static func list(_ numbers: [Int]) -> String {
        "[" + numbers.map(String.init).joined(separator: ", ") + "]"
    }

    /// What Python calls a value's type.
    static func typeName(_ value: JsonValue) -> String {
        switch value {
        case .null: return "NoneType"
        case .bool: return "bool"
        case .integer, .outsized: return "int"
        case .double: return "float"
        case .string, .broken: return "str"
        case .array: return "list"
        case .object: return "dict"
        }
    }

    private static func cut(_ text: String) -> String {
        let scalars = text.unicodeScalars
        return scalars.count <= maxLength ? text : String(String.UnicodeScalarView(scalars.prefix(maxLength))) + "..."
    }

    /// Python's str.isprintable.
    private static func prints(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: return false
        case .spaceSeparator: return scalar == " "
        default: return true
        }
    }

    private static func escape(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        let (mark, width) = value < 0x100 ? ("\\x", 2) : value < 0x10000 ? ("\\u", 4) : ("\\U", 8)
        return mark + String(repeating: "0", count: width - digits.count) + digits
    }
}

extension Shown {
    /// Texts in the order of their code points, joined by commas.
    static func sorted(_ texts: [String]) -> String {
        texts.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.joined(separator: ", ")
    }
}
