// One reply: its pieces become clean text, with the counts and times that an app shows.

/// How a reply came to its end.
public enum Ending: String, Sendable {
    /// By itself.
    case stop
    /// All wanted tokens were given.
    case length
    /// A bounded context is full.
    case context
    /// By the user.
    case cancelled
}

/// How the last turn went.
public struct Reply: Equatable, Sendable {
    public var text: String
    public var end: Ending
    /// Sent in this turn.
    public var promptTokens: Int
    /// The stop token included.
    public var newTokens: Int
    /// nil: cancelled before it came.
    public var timeToFirstTokenS: Double?
    /// Of the tokens after the first; nil: there was none.
    public var decodeTokensPerS: Double?
    /// A sentence for the user, or "".
    public var note: String

    public init(
        text: String, end: Ending, promptTokens: Int, newTokens: Int, timeToFirstTokenS: Double? = nil,
        decodeTokensPerS: Double? = nil, note: String = ""
    ) {
        self.text = text
        self.end = end
        self.promptTokens = promptTokens
        self.newTokens = newTokens
        self.timeToFirstTokenS = timeToFirstTokenS
        self.decodeTokensPerS = decodeTokensPerS
        self.note = note
    }
}

/// The pieces of one reply becoming text, and their times.
struct ReplyStream {
    private var joiner = Utf8Joiner()
    private var filter: StopFilter
    private let clock: () -> Double
    private let startS: Double
    private var firstS: Double
    private var lastS: Double
    private(set) var isStopped = false
    private(set) var numTokens = 0
    private(set) var text = ""
    /// Bytes of the newest token, which is not in the cache yet.
    private(set) var lost: [UInt8] = []

    /// - Parameter clock: seconds.
    init(_ stopTexts: [String], clock: @escaping () -> Double) throws {
        filter = try StopFilter(stopTexts)
        self.clock = clock
        startS = clock()
        (firstS, lastS) = (startS, startS)
    }

    /// Counts a piece and returns the text that is certain now.
    mutating func take(_ piece: Piece) -> String {
        lastS = clock()
        if numTokens == 0 { firstS = lastS }
        numTokens += 1
        if isStopped { return "" }
        let visible = piece.isStop ? "" : filter.push(joiner.push(piece.data))
        isStopped = piece.isStop || filter.isStopped
        lost = isStopped ? [] : piece.data
        text += visible
        return visible
    }

    /// Ends the reply and returns what was held back.
    mutating func finish() -> String {
        let rest = filter.push(joiner.flush())
        let visible = rest + filter.flush()
        text += visible
        return visible
    }

    var timeToFirstTokenS: Double? { numTokens > 0 ? firstS - startS : nil }

    var decodeTokensPerS: Double? {
        let seconds = lastS - firstS
        return numTokens > 1 && seconds > 0 ? Double(numTokens - 1) / seconds : nil
    }
}
