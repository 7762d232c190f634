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

extension Statistics {
    /// The figures of ExecuTorch's report of one call (extension/llm/runner/stats.h), or nil when it cannot be read.
    ///
    /// `generated_tokens` leaves out the first token, which the prefill gives. Times are epoch milliseconds.
    public static func ofReport(_ text: String) -> Statistics? {
        guard let report = try? Json.read(text) else { return nil }
        let most = Int(Place.maxInteger)
        func whole(_ key: String) -> Int? { report[key]?.int.flatMap { (0...most).contains($0) ? $0 : nil } }
        guard let prompt = whole("prompt_tokens"), let generated = whole("generated_tokens"),
            let start = whole("inference_start_ms"), let prefilled = whole("prompt_eval_end_ms"),
            let first = whole("first_token_ms"), let end = whole("inference_end_ms")
        else { return nil }
        let hasToken = first > 0
        let (firstMs, prefillMs, decodeMs) = (first - start, prefilled - start, end - prefilled)
        return Statistics(
            promptTokens: prompt, newTokens: hasToken ? generated + 1 : 0,
            timeToFirstTokenS: hasToken && firstMs >= 0 ? Double(firstMs) / 1000 : nil,
            decodeTokensPerS: generated > 0 && decodeMs > 0 ? 1000 * Double(generated) / Double(decodeMs) : nil,
            prefillTokensPerS: prompt > 0 && prefillMs > 0 ? 1000 * Double(prompt) / Double(prefillMs) : nil)
    }

    /// The same of a reply that our own clock timed.
    public static func ofReply(_ reply: Reply) -> Statistics {
        let first = reply.timeToFirstTokenS
        let hasRate = (first ?? 0) > 0 && reply.promptTokens > 0
        return Statistics(
            promptTokens: reply.promptTokens, newTokens: reply.newTokens, timeToFirstTokenS: first,
            decodeTokensPerS: reply.decodeTokensPerS,
            prefillTokensPerS: hasRate ? first.map { Double(reply.promptTokens) / $0 } : nil)
    }
}
