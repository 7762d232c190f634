// ExecuTorch's own text runner as the core's `TextRunner`: for packages whose tokenizer ours cannot read.
//
// It loses a piece that ends inside a character (it makes an NSString of each), gives no statistics, has no call that
// only prefills, and refuses a text as long as the context. Other packages run over `ExecuTorchModule` and lose
// nothing.
import ExecuTorchLLM
import Foundation
import PocketCore

/// The runner of a program and its tokenizer.
///
/// - Parameter numBos: ids of the begin-of-text token that a chat's first text begins with.
func nativeTextRunner(program: URL, tokenizer: URL, numBos: Int) -> any PocketCore.TextRunner {
    let maker: any TextRunnerMaker.Type = NativeTextRunners.self
    return maker.make(program: program, tokenizer: tokenizer, numBos: numBos)
}

/// ExecuTorchLLM marks everything as deprecated because it is experimental; through a protocol it may be used without a
/// warning, and everything else keeps its warnings.
private protocol TextRunnerMaker {
    static func make(program: URL, tokenizer: URL, numBos: Int) -> any PocketCore.TextRunner
}

private enum NativeTextRunners: TextRunnerMaker {
    @available(*, deprecated, message: "ExecuTorchLLM is experimental")
    static func make(program: URL, tokenizer: URL, numBos: Int) -> any PocketCore.TextRunner {
        NativeTextRunner(program: program, tokenizer: tokenizer, numBos: numBos)
    }
}

@available(*, deprecated, message: "ExecuTorchLLM is experimental")
private final class NativeTextRunner: PocketCore.TextRunner {
    private let program: URL
    private let tokenizer: URL
    private let numBos: Int
    private var runner: ExecuTorchLLM.TextRunner?
    /// A text that waits for being written to the cache.
    private var waiting: (text: String, first: Bool)?

    init(program: URL, tokenizer: URL, numBos: Int) {
        self.program = program
        self.tokenizer = tokenizer
        self.numBos = numBos
    }

    func load() throws {
        let runner = ExecuTorchLLM.TextRunner(modelPath: program.path, tokenizerPath: tokenizer.path)
        try translated { try runner.load() }
        self.runner = runner
    }

    /// Keeps the text until it is known what follows: a call without a text goes on from it, and only together they are
    /// one call of the runner.
    func prefill(_ text: String, first: Bool) throws {
        try write()
        waiting = (text, first)
    }

    func generate(
        _ text: String, first: Bool, maxNewTokens: Int, temperature: Double, onPiece: ([UInt8]) -> Void
    ) throws -> String? {
        if text.isEmpty, let waiting {
            self.waiting = nil
            try run(waiting.text, waiting.first, maxNewTokens, temperature, onPiece)
        } else {
            try write()
            try run(text, first, maxNewTokens, temperature, onPiece)
        }
        return nil
    }

    func stop() {
        runner?.stop()
    }

    func reset() {
        waiting = nil
        runner?.reset()
    }

    func close() {
        waiting = nil
        runner = nil
    }

    /// Generates one token, whose text is dropped: the runner never writes the last token that it sampled, so the cache
    /// then holds the text and nothing else (extension/llm/runner/text_llm_runner.cpp, main of August 2026).
    private func write() throws {
        guard let (text, first) = waiting else { return }
        waiting = nil
        try run(text, first, 1, 0) { _ in }
    }

    private func run(
        _ text: String, _ first: Bool, _ maxNewTokens: Int, _ temperature: Double, _ onPiece: ([UInt8]) -> Void
    ) throws {
        guard let runner else { throw RunnerFailure(code: 2, detail: "the runner was used before it was loaded") }
        let config = Config {
            $0.isEchoEnabled = false
            $0.maximumNewTokens = maxNewTokens
            $0.temperature = temperature
            $0.bosCount = first ? numBos : 0
        }
        // The runner calls back on this thread, before it returns.
        try withoutActuallyEscaping(onPiece) { onPiece in
            try translated { try runner.generate(text, config) { onPiece(Array($0.utf8)) } }
        }
    }
}
