// A tokenizer.json of byte-level BPE (GPT-2, Llama 3 and 4, Qwen 2, ours): text to ids, ids to bytes.
//
// It gives the ids of the `tokenizers` library. What it does not know it refuses, so that the runtime's own reader can
// be used instead.
import Foundation

public final class Bpe: Tokenizer {
    private let bosText: String
    private let bos: [Int]
    private let added: AddedTokens
    private let isNfc: Bool
    private let steps: [PreTokenizer]
    private let merges: BpeMerges
    private let pieces: [Int: [UInt8]]

    /// - Parameters:
    ///   - content: the file's bytes.
    ///   - bosText: what a first text must begin with, or "".
    ///   - bos: ids that a first text begins with.
    /// - Throws: `PocketError`: it is not a tokenizer of this kind; the sentence says what is unknown.
    public init(_ content: [UInt8], bosText: String = "", bos: [Int] = []) throws {
        let data: JsonValue
        do {
            data = try Json.read(content)
        } catch let error as JsonError {
            throw PocketError("the tokenizer is not valid JSON (\(error.reason)); install the package again")
        }
        guard let model = data["model"], model["type"]?.text == "BPE", case .object(let vocab)? = model["vocab"] else {
            throw Self.unknown("model")
        }
        for key in ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
            if let value = model[key], value != .null, value.text != "" { throw Self.unknown("model.\(key)") }
        }
        if model["byte_fallback"]?.bool == true { throw Self.unknown("model.byte_fallback") }
        self.bosText = bosText
        self.bos = bos
        isNfc = try Self.readNormalizer(data["normalizer"] ?? .null)
        added = try AddedTokens(data["added_tokens"]?.items ?? [])
        steps = try PreTokenizer.read(data["pre_tokenizer"] ?? .null)
        guard Self.types(data["decoder"] ?? .null).contains("ByteLevel") else { throw Self.unknown("decoder") }
        var pieces: [Int: [UInt8]] = [:]
        var ids: [ByteKey: Int] = [:]
        pieces.reserveCapacity(vocab.entries.count)
        ids.reserveCapacity(vocab.entries.count)
        for entry in vocab.entries {
            guard let id = entry.value.int else { throw Self.unknown("vocabulary") }
            ids[ByteKey(entry.key)] = id
            pieces[id] = ByteLevel.bytes(entry.key)
        }
        merges = try BpeMerges(
            ids: ids, merges: model["merges"]?.items ?? [], ignoresMerges: model["ignore_merges"]?.bool ?? false)
        for token in added.tokens { pieces[token.id] = token.bytes }
        self.pieces = pieces
    }

    /// The tokenizer of an installed package.
    ///
    /// - Throws: `PocketError`: as `init`, or the file cannot be read.
    public convenience init(_ package: InstalledPackage) throws {
        let facts = package.manifest.tokenizer
        guard facts.kind == .hf else { throw Self.unknown("kind \(facts.kind.rawValue)") }
        guard let content = try? Data(contentsOf: package.tokenizer) else {
            throw PocketError(Refusal(.fileMissing, ["file": facts.file]))
        }
        let bos = facts.bosId.map { Array(repeating: $0, count: facts.numBos) } ?? []
        try self.init(Array(content), bosText: facts.bosText, bos: bos)
    }

    static func unknown(_ what: String) -> PocketError {
        PocketError(
            "this app's own tokenizer reader does not know the tokenizer's \(what); export the package for XNNPACK, "
                + "whose runner brings a reader of its own")
    }

    public func encode(_ text: String, first: Bool) throws -> [Int] {
        var ids = first ? bos : []
        for part in added.split(Array(((first ? bosText : "") + text).utf8)) {
            switch part {
            case .token(let id): ids.append(id)
            case .text(let bytes):
                let text = String(decoding: bytes, as: UTF8.self)
                var words = [isNfc ? text.precomposedStringWithCanonicalMapping : text]
                for step in steps { words = words.flatMap(step.split) }
                for word in words { merges.encode(Array(word.utf8), into: &ids) }
            }
        }
        return ids
    }

    /// - Throws: `PocketError`: no such id; it belongs to the padding of the model's table.
    public func piece(_ token: Int) throws -> [UInt8] {
        guard let piece = pieces[token] else {
            throw PocketError("id \(token) is not in the tokenizer: it belongs to the padding of the model's table")
        }
        return piece
    }

    private static func readNormalizer(_ data: JsonValue) throws -> Bool {
        switch data["type"]?.text {
        case nil where data == .null: return false
        case "NFC": return true
        default: throw unknown("normalizer")
        }
    }

    /// The types of a step and of the steps inside it.
    private static func types(_ step: JsonValue) -> Set<String> {
        let own = step["type"]?.text.map { [$0] } ?? []
        return Set(own + (step["decoders"]?.items ?? []).flatMap(types))
    }
}

/// Byte-level BPE's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 and up (openai/gpt-2,
/// src/encoder.py, `bytes_to_unicode`).
enum ByteLevel {
    /// By the character's number, below 512; nil where it is none of the alphabet.
    private static let byteOf: [UInt8?] = {
        let ranges: [ClosedRange<UInt8>] = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF]
        var table = [UInt8?](repeating: nil, count: 512)
        var next = 256
        for byte in UInt8.min...UInt8.max {
            if ranges.contains(where: { $0.contains(byte) }) {
                table[Int(byte)] = byte
            } else {
                table[next] = byte
                next += 1
            }
        }
        return table
    }()

    /// The character of each byte.
    static let characters: [String] = (0..<256).map { byte in
        let number = byteOf.firstIndex { $0 == UInt8(byte) } ?? 0
        return Unicode.Scalar(UInt32(number)).map { String($0) } ?? ""
    }

    /// Whether a text is of the alphabet alone.
    static func spells(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.value < 512 && byteOf[Int($0.value)] != nil }
    }

    /// The bytes that a token's text stands for; what is not of the alphabet stands for itself.
    static func bytes(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            if scalar.value < 512, let byte = byteOf[Int(scalar.value)] {
                bytes.append(byte)
            } else {
                bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        return bytes
    }
}

/// Texts that are one token wherever they stand.
struct AddedTokens {
    struct Token {
        let id: Int
        let bytes: [UInt8]
    }

    enum Part {
        case token(Int)
        case text(ArraySlice<UInt8>)
    }

    let tokens: [Token]
    /// By their first byte, the longest first.
    private let byHead: [UInt8: [Token]]

    init(_ items: [JsonValue]) throws {
        tokens = try items.map { item in
            for key in ["single_word", "lstrip", "rstrip"] where item[key]?.bool == true {
                throw Bpe.unknown("added_tokens.\(key)")
            }
            guard let id = item["id"]?.int, let text = item["content"]?.text, !text.isEmpty else {
                throw Bpe.unknown("added_tokens")
            }
            return Token(id: id, bytes: Array(text.utf8))
        }
        byHead = Dictionary(grouping: tokens) { $0.bytes[0] }.mapValues { group in
            group.sorted { $0.bytes.count > $1.bytes.count }
        }
    }

    /// Cuts a text at every added token: from left to right, of several that begin together the longest.
    func split(_ text: [UInt8]) -> [Part] {
        var parts: [Part] = []
        var (start, at) = (0, 0)
        while at < text.count {
            guard let token = byHead[text[at]]?.first(where: { text[at...].starts(with: $0.bytes) }) else {
                at += 1
                continue
            }
            if start < at { parts.append(.text(text[start..<at])) }
            parts.append(.token(token.id))
            at += token.bytes.count
            start = at
        }
        if start < at { parts.append(.text(text[start...])) }
        return parts
    }
}
