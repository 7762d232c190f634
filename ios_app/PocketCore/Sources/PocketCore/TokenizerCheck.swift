// Whether a tokenizer.json has the special tokens that the manifest counts on, with the same ids.
import Foundation

enum TokenizerCheck {
    /// A sentencepiece file is not read: its hash alone speaks for it.
    ///
    /// - Throws: `PocketError`: a special token is missing or has another id.
    static func check(_ facts: Manifest.TokenizerFacts, file: URL) throws {
        guard facts.kind == .hf else { return }
        let data = (try? Json.read(Array(Data(contentsOf: file)))) ?? .null
        var ids: [[UInt8]: Int] = [:]
        if case .object(let vocab)? = data["model"]?["vocab"] {
            for entry in vocab.entries { ids[Array(entry.key.utf8)] = entry.value.int }
        }
        for token in data["added_tokens"]?.items ?? [] {
            if let text = token["content"]?.text { ids[Array(text.utf8)] = token["id"]?.int }
        }
        for token in facts.specialTokens where ids[Array(token.text.utf8)] != token.id {
            throw PocketError(Refusal(.tokenizerMismatch, ["token": token.text, "id": String(token.id)]))
        }
    }
}
