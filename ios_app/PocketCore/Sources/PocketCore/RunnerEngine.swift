// An engine over the phones' own text runner, which tokenizes by itself and tells no ids.
//
// That runner counts no tokens before it runs, so `count` is a bound: byte-level BPE never makes more tokens than a
// text has bytes. Its statistics correct the position after each turn. On iOS it loses a piece that ends inside a
// character, so the app takes it only for tokenizers that `Bpe` does not read.
import Foundation

public final class RunnerEngine: LlmEngine, @unchecked Sendable {
    private let runner: any TextRunner
    private let context: Context
    private let tokenizer: Manifest.TokenizerFacts
    private let stopFlag = StopFlag()

    public private(set) var position = 0
    public private(set) var lastStatistics: String?
    public var temperature: Double
    public let countIsExact = false

    public init(runner: any TextRunner, manifest: Manifest, temperature: Double = 0) {
        self.runner = runner
        context = manifest.context
        tokenizer = manifest.tokenizer
        self.temperature = temperature
    }

    public func load() throws { try runner.load() }

    public func close() {
        runner.close()
        position = 0
    }

    /// The text's bytes, and the ids that a first text begins with: at least as many as its tokens.
    public func count(_ text: String, first: Bool) -> Int {
        text.utf8.count + (first ? tokenizer.bosText.utf8.count + tokenizer.numBos : 0)
    }

    public func prefill(_ text: String, first: Bool) throws {
        try runner.prefill(whole(text, first), first: first)
        position += count(text, first: first)
    }

    /// A text that may be as long as an endless context is prefilled first: the runner's generate refuses it, and goes
    /// on from what was prefilled when it gets no text.
    public func stream(_ text: String, first: Bool, maxNewTokens: Int, onPiece: (Piece) -> Void) throws {
        stopFlag.lower()
        lastStatistics = nil
        let bound = count(text, first: first)
        let start = position
        let isLong = context.kind == .endless && bound >= context.tokens
        if isLong { try runner.prefill(whole(text, first), first: first) }
        if stopFlag.isRaised { return }
        var numPieces = 0
        let report = try runner.generate(
            isLong ? "" : whole(text, first), first: first && !isLong, maxNewTokens: maxNewTokens,
            temperature: temperature
        ) { piece in
            numPieces += 1
            onPiece(Piece(data: Array(piece.utf8)))
            if stopFlag.isRaised { runner.stop() }  // an earlier call may have been lost
        }
        lastStatistics = report
        let statistics = report.flatMap(Statistics.ofReport)
        let prompt = isLong ? bound : statistics?.promptTokens ?? bound
        let new = statistics.map(\.newTokens) ?? numPieces
        position = start + prompt + max(0, new - 1)
    }

    public func stop() {
        stopFlag.raise()
        runner.stop()
    }

    public func reset() throws {
        try runner.reset()
        position = 0
    }

    private func whole(_ text: String, _ first: Bool) -> String { (first ? tokenizer.bosText : "") + text }
}
