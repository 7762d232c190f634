// What a chat needs of whatever runs the model, and the engine built of a tokenizer and a runner of token ids.
//
// An engine keeps its cache between calls and takes text, because the phones' native runner does: it tokenizes by
// itself and gives back pieces of text. A native engine implements `LlmEngine` directly; a runner of ids stands behind
// `TokenEngine`.
import Foundation

/// One new token.
public struct Piece: Equatable, Sendable {
    /// Its own bytes, which may end inside a character.
    public var data: [UInt8]
    /// A stop token, whose bytes are no part of the reply.
    public var isStop: Bool

    public init(data: [UInt8], isStop: Bool = false) {
        self.data = data
        self.isStop = isStop
    }
}

/// Runs the model on text and remembers it.
///
/// The last token of a stream is never in the cache: it was sampled and nothing came after it. Failures are
/// `PocketError`s whose sentence is for the user.
public protocol Engine: AnyObject {
    /// Positions in the cache.
    var position: Int { get }
    /// Whether `count` is the true number of tokens, or one that is never less.
    var countIsExact: Bool { get }

    /// Tokens of a text; `first` puts before it what only a chat's beginning has (the BOS id, or `bos_text`).
    func count(_ text: String, first: Bool) throws -> Int

    /// Writes a text to the cache without asking for a reply.
    func prefill(_ text: String, first: Bool) throws

    /// Writes a text and hands over at most `maxNewTokens` new tokens, one after the other, on the calling thread; ends
    /// after a stop token.
    ///
    /// It gives at least one piece unless `stop` was called before. In an endless context the text may be longer than
    /// the context (the phones' runner needs its prefill for all but the end then).
    func stream(_ text: String, first: Bool, maxNewTokens: Int, onPiece: (Piece) -> Void) throws

    /// Asks the stream to end soon, from any thread. Early calls may be lost: the chat repeats it after every piece.
    func stop()

    /// Empties the cache; the next text goes to position 0.
    func reset() throws
}

/// An engine over one package of the phone. One thread owns it; only `stop` may be called from another one.
public protocol LlmEngine: Engine {
    /// From 0 (always the likeliest token) to 1; from the next stream on.
    var temperature: Double { get set }
    /// The runner's own report of the last stream, JSON, or nil where it gives none.
    var lastStatistics: String? { get }

    /// Maps the program and makes it ready; may take seconds, and minutes where Core ML compiles it first.
    func load() throws

    /// Gives all memory back. May be called twice, and before `load`. Not while a stream runs.
    func close()
}

/// Makes the engine of an installed package, not loaded yet; throws a `PocketError` when it is for another runner.
public typealias EngineFactory = @Sendable (InstalledPackage) throws -> any LlmEngine

/// Text to ids and back, one token at a time.
public protocol Tokenizer: AnyObject {
    /// The ids of a text; with `first`, after the BOS id or text where the model wants one.
    func encode(_ text: String, first: Bool) throws -> [Int]
    /// The bytes that a token adds to the text.
    func piece(_ token: Int) throws -> [UInt8]
}

/// Runs the model on token ids over a cache that lasts.
public protocol IdRunner: AnyObject {
    var context: Context { get }

    func load() throws
    func close()

    /// Writes the ids from `position` on and gives the last one's logits [V].
    ///
    /// - Parameter isStopped: asked between the program's calls; true ends the work.
    /// - Returns: nil: it was stopped, and how much was written is unknown.
    func logits(_ ids: [Int], position: Int, isStopped: () -> Bool) throws -> [Double]?

    /// Empties the cache.
    func reset() throws
}

/// An engine that also takes and gives ids, as the self-test and the benchmark want them.
public protocol IdEngine: LlmEngine {
    /// Writes ids and hands over the new ones, at most `maxNewTokens`; ends after a stop id.
    func generate(_ ids: [Int], maxNewTokens: Int, onId: (Int) throws -> Void) throws
}

/// An engine over a tokenizer and a runner of ids: bytes and counts are exact, and a stop is heard between two calls of
/// the program, in the prompt too.
public final class TokenEngine: IdEngine, @unchecked Sendable {
    private let tokenizer: any Tokenizer
    private let runner: any IdRunner
    private let stopIds: Set<Int>
    private let seed: UInt64?
    private let stopFlag = StopFlag()

    public private(set) var position = 0
    public var temperature: Double
    public let countIsExact = true
    public let lastStatistics: String? = nil

    /// - Parameter seed: nil draws one from the system for each reply.
    public init(
        tokenizer: any Tokenizer, runner: any IdRunner, stopIds: [Int], temperature: Double = 0, seed: UInt64? = nil
    ) {
        self.tokenizer = tokenizer
        self.runner = runner
        self.stopIds = Set(stopIds)
        self.temperature = temperature
        self.seed = seed
    }

    public func load() throws { try runner.load() }

    public func close() {
        runner.close()
        position = 0
    }

    public func count(_ text: String, first: Bool) throws -> Int { try tokenizer.encode(text, first: first).count }

    public func prefill(_ text: String, first: Bool) throws {
        let ids = try tokenizer.encode(text, first: first)
        if !ids.isEmpty { _ = try runner.logits(ids, position: position, isStopped: { false }) }
        position += ids.count
    }

    /// See `Engine.stream`. A bounded context ends the stream, without an error, before a token that would not fit.
    public func stream(_ text: String, first: Bool, maxNewTokens: Int, onPiece: (Piece) -> Void) throws {
        stopFlag.lower()
        try run(tokenizer.encode(text, first: first), maxNewTokens: maxNewTokens) { id in
            let isStop = stopIds.contains(id)
            onPiece(Piece(data: try tokenizer.piece(id), isStop: isStop))
        }
    }

    public func generate(_ ids: [Int], maxNewTokens: Int, onId: (Int) throws -> Void) throws {
        stopFlag.lower()
        try run(ids, maxNewTokens: maxNewTokens, onId: onId)
    }

    private func run(_ ids: [Int], maxNewTokens: Int, onId: (Int) throws -> Void) throws {
        var sampler = try SeededSampler(temperature: temperature, seed: seed)
        var pending = ids
        for index in 0..<maxNewTokens {
            if index > 0, runner.context.kind == .bounded, position + 1 > runner.context.tokens { return }
            guard let logits = try runner.logits(pending, position: position, isStopped: { stopFlag.isRaised })
            else { return }
            let id = try sampler.pick(logits)
            position += pending.count  // the prompt and all new tokens but this one
            pending = [id]
            try onId(id)
            if stopIds.contains(id) || stopFlag.isRaised { return }
        }
    }

    public func stop() { stopFlag.raise() }

    public func reset() throws {
        try runner.reset()
        position = 0
    }
}

/// A wish to stop that any thread may raise.
final class StopFlag: @unchecked Sendable {
    private let lock = NSLock()
    private var raised = false

    var isRaised: Bool { lock.withLock { raised } }
    func raise() { lock.withLock { raised = true } }
    func lower() { lock.withLock { raised = false } }
}
