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
