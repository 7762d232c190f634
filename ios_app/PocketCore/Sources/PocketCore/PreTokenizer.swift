// The steps that cut a text into words before BPE, as a tokenizer.json lists them.
import Foundation

enum PreTokenizer {
    /// Matches of a pattern and what lies between them, each a word of its own.
    case pattern(NSRegularExpression)
    /// A space in front of words that do not begin with one.
    case prefixSpace

    /// What ByteLevel cuts by where it is asked to (openai/gpt-2, src/encoder.py).
    private static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    static func read(_ data: JsonValue) throws -> [PreTokenizer] {
        let steps = data["type"]?.text == "Sequence" ? data["pretokenizers"]?.items ?? [] : [data]
        guard steps.contains(where: { $0["type"]?.text == "ByteLevel" }) else { throw Bpe.unknown("pre_tokenizer") }
        return try steps.flatMap(readStep)
    }

    private static func readStep(_ step: JsonValue) throws -> [PreTokenizer] {
        switch step["type"]?.text {
        case "Split":
            let isPlain = step["behavior"]?.text == "Isolated" && step["invert"]?.bool != true
            guard isPlain, let pattern = step["pattern"]?["Regex"]?.text else { throw Bpe.unknown("pre_tokenizer") }
            return [.pattern(try expression(pattern))]
        case "Digits":
            return [.pattern(try expression(step["individual_digits"]?.bool == true ? #"\p{N}"# : #"\p{N}+"#))]
        case "ByteLevel":
            let space: [PreTokenizer] = step["add_prefix_space"]?.bool == true ? [.prefixSpace] : []
            return step["use_regex"]?.bool == false ? space : space + [.pattern(try expression(gpt2))]
        default: throw Bpe.unknown("pre_tokenizer")
        }
    }

    /// The library's patterns are Oniguruma's, these are ICU's. `\s` is white space there, and `[\t\n\f\r\p{Z}]` here;
    /// ICU's classes nest, so the rest of white space is added in place.
    private static func expression(_ pattern: String) throws -> NSRegularExpression {
        var out = ""
        var isEscaped = false
        for character in pattern {
            switch character {
            case "s" where isEscaped: out += #"[\t-\r\u0085\p{Z}]"#
            case "S" where isEscaped: out += #"[^\t-\r\u0085\p{Z}]"#
            case "\\" where !isEscaped:
                isEscaped = true
                continue
            default: out += isEscaped ? "\\\(character)" : String(character)
            }
            isEscaped = false
        }
        guard let expression = try? NSRegularExpression(pattern: out) else { throw Bpe.unknown("pattern") }
        return expression
    }

    func split(_ word: String) -> [String] {
        switch self {
        case .prefixSpace: return [word.unicodeScalars.first == " " ? word : " " + word]
        case .pattern(let expression):
            let text = word as NSString
            var words: [String] = []
            var at = 0
            expression.enumerateMatches(in: word, range: NSRange(location: 0, length: text.length)) { match, _, _ in
                guard let range = match?.range, range.length > 0 else { return }
                if range.location > at {
                    words.append(text.substring(with: NSRange(location: at, length: range.location - at)))
                }
                words.append(text.substring(with: range))
                at = range.location + range.length
            }
            if at < text.length { words.append(text.substring(from: at)) }
            return words
        }
    }
}
