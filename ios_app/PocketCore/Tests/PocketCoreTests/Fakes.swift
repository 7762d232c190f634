// Hand-written stand-ins: a manifest of the vectors, a tokenizer of letters, a runner that loses stops as the real one.
import Foundation

@testable import PocketCore

/// A good manifest of tests/vectors/manifests.json.
func manifest(_ name: String) throws -> Manifest {
    try Manifest.parse(Vectors.document("manifests").get("bases").get(name))
}

/// A package that was never installed.
func package(_ name: String) throws -> InstalledPackage {
    InstalledPackage(
        id: PackageId(String(repeating: "ab", count: 32)), folder: URL(fileURLWithPath: "/nowhere"),
        manifest: try manifest(name))
}

/// ASCII letters are ids 0 to 95.
final class LetterTokenizer: Tokenizer {
    func encode(_ text: String, first: Bool) -> [Int] { (first ? [1] : []) + text.utf8.map { Int($0) - 32 } }
    func piece(_ token: Int) -> [UInt8] { [UInt8(token + 32)] }
}

/// Gives the ids of a script, and can be stopped between calls.
final class ScriptedRunner: IdRunner {
    let context: Context
    private var script: [Int]
    /// Called before each of the program's calls; a prompt takes one a token.
    var onCall: () -> Void = {}
    private(set) var written: [(id: Int, position: Int)] = []

    init(_ script: [Int], context: Context) {
        self.script = script
        self.context = context
    }

    func load() {}
    func close() {}
    func reset() { written = [] }

    func logits(_ ids: [Int], position: Int, isStopped: () -> Bool) -> [Double]? {
        for (i, id) in ids.enumerated() {
            onCall()
            if isStopped() { return nil }
            written.append((id, position + i))
        }
        var logits = [Double](repeating: 0, count: 96)
        logits[script.removeFirst()] = 1
        return logits
    }
}

/// ExecuTorch's text runner as far as it is known: a stop while a prompt is read, or from the callback of a call's
/// first token, is lost; generate refuses a text as long as the context and goes on from what was prefilled.
final class FlagRunner: PocketCore.TextRunner {
    private var shouldStop = false
    private var position = 0
    private let context: Int
    private let reply: [String]
    /// Called in the middle of a prompt.
    var onPrompt: () -> Void = {}
    private(set) var log: [String] = []

    init(reply: [String], context: Int) {
        self.reply = reply
        self.context = context
    }

    func load() {}
    func close() {}
    func stop() { shouldStop = true }

    func reset() {
        position = 0
        log.append("reset")
    }

    func prefill(_ text: String, first: Bool) {
        log.append("prefill \(text.utf8.count)")
        onPrompt()
        position += text.utf8.count
    }

    func generate(
        _ text: String, first: Bool, maxNewTokens: Int, temperature: Double, onPiece: ([UInt8]) -> Void
    ) throws -> String? {
        if text.utf8.count >= context { throw RunnerFailure(code: 0x12, detail: "the prompt is too long") }
        log.append("generate \(text.utf8.count)")
        onPrompt()
        position += text.utf8.count
        let prompt = text.isEmpty ? position : text.utf8.count
        var given = 0
        for piece in reply.prefix(maxNewTokens) {
            if given == 1 { shouldStop = false }  // the loop lowers the flag after the first token
            given += 1
            onPiece(Array(piece.utf8))
            if given > 1, shouldStop { break }
        }
        position += max(0, given - 1)
        return """
            {"prompt_tokens": \(prompt), "generated_tokens": \(max(0, given - 1)), "inference_start_ms": 1000,
             "prompt_eval_end_ms": 1100, "first_token_ms": 1100, "inference_end_ms": 2000}
            """
    }
}
