// What a chat needs of whatever runs the model, and the engine built of a tokenizer and a runner of token ids.
//
// An engine keeps its cache between calls and takes text, because the phones' native runner does: it tokenizes by
// itself and gives back pieces of text. A native engine implements `LlmEngine` directly; a runner of ids stands behind
// `TokenEngine`.

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
public protocol Tokenizer {
    /// The ids of a text; with `first`, after the BOS id or text where the model wants one.
    func encode(_ text: String, first: Bool) -> [Int]
    /// The bytes that a token adds to the text.
    func piece(_ token: Int) throws -> [UInt8]
}

/// Runs the model on token ids over a cache that lasts.
public protocol IdRunner: AnyObject {
    func load() throws
    func close()
    /// Writes the ids from `position` on and gives the last one's logits, one for each of the vocabulary.
    ///
    /// `isStopped` is asked between calls of the program; true ends the work with `CancellationError`.
    func logits(_ ids: [Int], position: Int, isStopped: () -> Bool) throws -> [Double]
    /// Empties the cache.
    func reset() throws
}
