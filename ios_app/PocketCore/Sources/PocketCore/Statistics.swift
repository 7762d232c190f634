// How fast a reply came: from the runner's own report where it gives one, else from our clock.

/// The figures of one reply.
public struct Statistics: Equatable, Sendable {
    /// Tokens sent in this turn.
    public var promptTokens: Int
    /// Tokens that came back, the stop token included.
    public var newTokens: Int
    /// Seconds; nil: no token came.
    public var timeToFirstTokenS: Double?
    /// Of the tokens after the first; nil: there was none, or it took no measurable time.
    public var decodeTokensPerS: Double?
    /// nil where the runner does not say it.
    public var prefillTokensPerS: Double?

    public init(
        promptTokens: Int, newTokens: Int, timeToFirstTokenS: Double? = nil, decodeTokensPerS: Double? = nil,
        prefillTokensPerS: Double? = nil
    ) {
        self.promptTokens = promptTokens
        self.newTokens = newTokens
        self.timeToFirstTokenS = timeToFirstTokenS
        self.decodeTokensPerS = decodeTokensPerS
        self.prefillTokensPerS = prefillTokensPerS
    }
}
