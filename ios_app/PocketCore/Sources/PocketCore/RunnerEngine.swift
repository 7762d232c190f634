// An engine over the phones' own text runner, which tokenizes by itself and tells no ids: what it drops and loses is
// made up for here.
//
// On iOS that runner loses a piece that ends inside a character, so the app takes it only for tokenizers that `Bpe`
// does not read.
import Foundation

/// See `LlmEngine`. The runner counts no tokens before it runs, so counts are bounds, and its reports put the position
/// right.
public final class RunnerEngine: LlmEngine, @unchecked Sendable {
    /// Counts the tokens of a text that has `bos_text` in it already.
    public typealias Count = (_ text: String, _ first: Bool) throws -> Int

    private let runner: any TextRunner
    private let context: Context
    private let tokenizer: Manifest.TokenizerFacts
    private let exactCount: Count?
    private let stopFlag = StopFlag()

    public private(set) var position = 0
    public private(set) var lastStatistics: String?
    public var temperature = 0.0
    public var countIsExact: Bool { exactCount != nil }

    /// - Parameter exactCount: where there is a tokenizer; nil: a bound.
    public init(runner: any TextRunner, manifest: Manifest, exactCount: Count? = nil) {
        self.runner = runner
        self.exactCount = exactCount
        context = manifest.context
        tokenizer = manifest.tokenizer
    }

    public func load() throws { try runner.load() }

    public func close() {
        runner.close()
        position = 0
    }

    /// A byte-level tokenizer gives at most a token a byte; sentencepiece puts a space before a text, which may be one
    /// more.
    public func count(_ text: String, first: Bool) throws -> Int {
        let whole = whole(text, first)
        if let exactCount { return try exactCount(whole, first) }
        let space = tokenizer.kind == .sentencepiece && !whole.isEmpty ? 1 : 0
        return whole.utf8.count + space + (first ? tokenizer.numBos : 0)
    }

    /// Where counts are bounds one token is asked for and dropped, because the report of that call has the true number;
    /// the runner never writes that token.
    public func prefill(_ text: String, first: Bool) throws {
        let count = try count(text, first: first)
        if count == 0 { return }
        if countIsExact || count >= context.tokens {
            try prefillWhole(text, first, count)
        } else {
            try stream(text, first: first, maxNewTokens: 1) { _ in }
        }
    }

    public func stream(_ text: String, first: Bool, maxNewTokens: Int, onPiece: (Piece) -> Void) throws {
        stopFlag.lower()
        lastStatistics = nil
        let count = try count(text, first: first)
        let isLong = count >= context.tokens  // the runner takes such a text by its prefill only
        if isLong {
            try prefillWhole(text, first, count)
            if stopFlag.isRaised { return }
        }
        let start = position
        let promptEnd = isLong ? start : start + count
        let wanted = min(maxNewTokens, context.tokens)
        var pieces = 0
        lastStatistics = try runner.generate(
            isLong ? "" : whole(text, first), first: first && !isLong, maxNewTokens: wanted, temperature: temperature
        ) { data in
            position = promptEnd + pieces  // the prompt and all new tokens but this one
            pieces += 1
            onPiece(Piece(data: data))
            if stopFlag.isRaised { runner.stop() }  // an earlier call may have been lost
        }
        // Of a call without text `prompt_tokens` is the position after what was prefilled.
        let figures = lastStatistics.flatMap(Statistics.ofReport)
        let prompt = figures?.promptTokens ?? 0
        let end = prompt > 0 ? (isLong ? 0 : start) + prompt : promptEnd
        let tokens = max(pieces, min(figures?.newTokens ?? 0, wanted))
        position = tokens > 0 ? end + tokens - 1 : end
        for _ in pieces..<tokens { onPiece(Piece(data: [])) }  // tokens that came joined to whole characters
    }

    public func stop() {
        stopFlag.raise()
        runner.stop()
    }

    public func reset() throws {
        try runner.reset()
        position = 0
    }

    private func whole(_ text: String, _ first: Bool) -> String { first ? tokenizer.bosText + text : text }

    private func prefillWhole(_ text: String, _ first: Bool, _ count: Int) throws {
        try runner.prefill(whole(text, first), first: first)
        position += count
    }
}
