// A chat over an engine: sends what is new, streams the reply as clean text, counts positions, remembers the messages.
//
// When the cache does not hold the conversation (the first turn, another reply wanted, an error in the middle), the
// next turn starts over from an empty cache with the newest turns that fit. Knows neither ids nor tensors.
import Foundation

/// The most tokens of a reply where nothing else is said.
public let defaultNewTokens = 512

/// What is sent again of a conversation when the cache is empty.
private struct Fit {
    let kept: Kept
    /// The system message, if one was given, and the newest turns.
    let messages: [Message]
    /// Their turns' first positions.
    let starts: [Int]
    /// Older turns.
    let numForgotten: Int
}

/// One turn before it is sent.
private struct Plan {
    let text: String
    /// Whether it starts over from an empty cache.
    let first: Bool
    let userText: String
    /// The conversation that this turn is added to.
    let before: [Message]
    /// First positions of the turns that the cache will hold, this one included.
    let starts: [Int]
    /// Older turns that it will not hold.
    let numForgotten: Int
    let promptTokens: Int
    let wanted: Int
    /// Fewer when a bounded context ends before.
    let maxNewTokens: Int
    let note: String
}

/// One chat. Not for several threads, save `cancel`, which may be called from any.
public final class Session: @unchecked Sendable {
    /// What the cache holds of `messages`.
    private enum Cache {
        case something
        case chat(lost: [UInt8])
    }

    /// What runs now; guarded by `lock`, because `cancel` comes from other threads.
    private enum Activity {
        case none, replying, cancelled
    }

    private let engine: any Engine
    private let turns: Turns
    private let context: Context
    private let clock: () -> Double
    private let lock = NSLock()
    private var activity = Activity.none
    private var cache = Cache.something
    private var starts: [Int] = []
    private var numForgotten = 0

    /// What was said, the system message first if one was given; only whole turns.
    public private(set) var messages: [Message]
    /// How the last turn went; nil before the first has ended.
    public private(set) var reply: Reply?

    /// - Parameters:
    ///   - engine: an engine that nobody else uses; its cache is emptied at the first turn.
    ///   - system: the system text, or nil for the package's own.
    ///   - clock: seconds; replaced in tests.
    /// - Throws: `PocketError`: the package takes no system message.
    public init(
        engine: any Engine, turns: Turns, context: Context, system: String? = nil,
        clock: @escaping () -> Double = Session.uptime
    ) throws {
        self.engine = engine
        self.turns = turns
        self.context = context
        self.clock = clock
        messages = system.map { [Message(role: "system", content: $0)] } ?? []
        _ = try turns.parts(messages)
    }

    /// Seconds since the device started.
    public static let uptime: @Sendable () -> Double = { ProcessInfo.processInfo.systemUptime }

    /// Positions in the cache.
    public var position: Int {
        if case .chat = cache { return engine.position }
        return 0
    }

    /// What the model still sees; turns count from the conversation's first, sent again or not.
    public func mark() throws -> Mark {
        guard case .chat = cache else {
            return Mark(firstVisiblePosition: 0, firstVisibleTurn: numForgotten, isPartial: false)
        }
        let starts = self.starts.map { min($0, position) }  // counted apart, a text may have more tokens
        var seen = try Window.mark(turnStarts: starts, position: position, context: context)
        seen.firstVisibleTurn += numForgotten
        return seen
    }

    /// Streams the reply's text; `reply` tells afterwards how it went.
    ///
    /// - Parameter isCancelled: for a caller that was cancelled before this began, when `cancel` does nothing yet.
    /// - Throws: `PocketError`: of the kind `contextFull`, the message does not fit into a bounded context and nothing
    ///   was sent; or nothing to send, another reply still running, an engine that gives nothing.
    public func send(
        _ userText: String, maxNewTokens: Int = defaultNewTokens, isCancelled: () -> Bool = { false },
        onText: (String) -> Void
    ) throws {
        try refuseIfBusy()
        if case .chat(let lost) = cache {
            try stream(nextPlan(userText, lost: lost, wanted: maxNewTokens), isCancelled, onText)
        } else {
            try stream(firstPlan(messages, userText, wanted: maxNewTokens), isCancelled, onText)
        }
    }

    /// Streams another reply to the last user message; the old one is kept until the new one has ended.
    ///
    /// - Throws: `PocketError`: there is no reply yet, or as `send`.
    public func regenerate(
        maxNewTokens: Int = defaultNewTokens, isCancelled: () -> Bool = { false }, onText: (String) -> Void
    ) throws {
        try refuseIfBusy()
        let asked = try Turns.toRegenerate(messages)
        let user = asked[asked.count - 1]
        try stream(firstPlan(Array(asked.dropLast()), user.content, wanted: maxNewTokens), isCancelled, onText)
    }

    /// Takes over a saved chat and prefills what fits, a quarter of the context left free.
    ///
    /// - Parameter messages: whole turns; they replace this session's, system message included.
    /// - Throws: `PocketError`: the last message is no reply, the order is wrong, or the system message does not fit.
    public func restore(_ messages: [Message]) throws -> Kept {
        try refuseIfBusy()
        _ = try turns.restoredText(messages)  // checks all of them, also those that will not fit
        let fit = try fit(messages, reserve: context.tokens / 4)
        (self.messages, starts, numForgotten) = (messages, fit.starts, fit.numForgotten)
        (cache, reply) = (.something, nil)
        if !fit.starts.isEmpty {
            try engine.reset()
            try engine.prefill(turns.restoredText(fit.messages), first: true)
            cache = .chat(lost: [])
        }
        return fit.kept
    }

    /// Ends the running reply soon, also while its prompt is prefilled; without one it does nothing.
    public func cancel() {
        let isRunning = lock.withLock {
            if activity == .replying { activity = .cancelled }
            return activity == .cancelled
        }
        if isRunning { engine.stop() }
    }

    private var isCancelled: Bool { lock.withLock { activity == .cancelled } }

    private func refuseIfBusy() throws {
        if lock.withLock({ activity != .none }) {
            throw PocketError("a reply is still running; wait for its end or cancel it")
        }
    }

    /// Tokens of the head (start and system text) and of each message after it.
    private func lengths(_ messages: [Message]) throws -> [Int] {
        try turns.parts(messages).enumerated().map { try engine.count($0.element, first: $0.offset == 0) }
    }

    private func fit(_ messages: [Message], reserve: Int) throws -> Fit {
        let lengths = try lengths(messages)
        let numSystem = messages.first?.role == "system" ? 1 : 0
        let roles = ["system"] + messages.dropFirst(numSystem).map(\.role)
        let reserve = min(reserve, max(0, context.tokens - lengths[0]))
        let kept = try Window.restore(roles: roles, lengths: lengths, context: context, reserve: reserve)
        var starts: [Int] = []
        var end = lengths[0]
        for index in kept.first..<max(kept.first, roles.count) {
            if roles[index] == "user" { starts.append(end) }
            end += lengths[index]
        }
        if !starts.isEmpty { starts[0] = 0 }
        return Fit(
            kept: kept,
            messages: Array(messages.prefix(numSystem)) + Array(messages.dropFirst(numSystem + kept.first - 1)),
            starts: starts, numForgotten: roles.prefix(kept.first).filter { $0 == "user" }.count)
    }

    private func nextPlan(_ userText: String, lost: [UInt8], wanted: Int) throws -> Plan {
        let text = try turns.nextText(userText, lost: lost)
        let promptTokens = try engine.count(text, first: false)
        let position = engine.position
        return Plan(
            text: text, first: false, userText: userText, before: messages, starts: starts + [position],
            numForgotten: numForgotten, promptTokens: promptTokens, wanted: wanted,
            maxNewTokens: try Window.newTokenBudget(
                position: position, promptTokens: promptTokens, wanted: wanted, context: context), note: "")
    }

    private func firstPlan(_ before: [Message], _ userText: String, wanted: Int) throws -> Plan {
        let user = Message(role: "user", content: userText)
        let alone = try engine.count(turns.parts([user])[1], first: false)
        let fit = try fit(before, reserve: alone + min(wanted, context.tokens / 4))
        let text = try turns.firstText(fit.messages + [user])
        let promptTokens = try engine.count(text, first: true)
        return Plan(
            text: text, first: true, userText: userText, before: before,
            starts: fit.starts.isEmpty ? [0] : fit.starts + [fit.kept.tokens], numForgotten: fit.numForgotten,
            promptTokens: promptTokens, wanted: wanted,
            maxNewTokens: try Window.newTokenBudget(
                position: 0, promptTokens: promptTokens, wanted: wanted, context: context), note: fit.kept.note)
    }

    private func stream(_ plan: Plan, _ wasCancelled: () -> Bool, _ onText: (String) -> Void) throws {
        lock.withLock { activity = .replying }  // from here on `cancel` is heard
        cache = .something  // until the turn has ended without an error
        defer { lock.withLock { activity = .none } }
        var stream = try ReplyStream(turns.stopTexts, clock: clock)
        if plan.first { try engine.reset() }
        if wasCancelled() { cancel() }
        if !isCancelled { try run(plan, &stream, onText) }
        let rest = stream.finish()
        try record(plan, stream)
        if !rest.isEmpty { onText(rest) }
    }

    private func run(_ plan: Plan, _ stream: inout ReplyStream, _ onText: (String) -> Void) throws {
        try engine.stream(plan.text, first: plan.first, maxNewTokens: plan.maxNewTokens) { piece in
            let text = stream.take(piece)
            if stream.isStopped || isCancelled { engine.stop() }  // after every piece, for an early call may be lost
            if !text.isEmpty { onText(text) }
        }
    }

    private func record(_ plan: Plan, _ stream: ReplyStream) throws {
        let (end, note) = end(plan, stream)
        reply = Reply(
            text: stream.text, end: end, promptTokens: plan.promptTokens, newTokens: stream.numTokens,
            timeToFirstTokenS: stream.timeToFirstTokenS, decodeTokensPerS: stream.decodeTokensPerS, note: note)
        if stream.numTokens == 0 {
            if end == .cancelled { return }  // in the middle of the prompt: how much is in the cache is unknown
            throw PocketError("the engine ended without a single token; send the message again")
        }
        messages =
            plan.before + [
                Message(role: "user", content: plan.userText), Message(role: "assistant", content: stream.text),
            ]
        (starts, numForgotten) = (plan.starts, plan.numForgotten)
        cache = .chat(lost: end == .stop ? [] : stream.lost)
    }

    private func end(_ plan: Plan, _ stream: ReplyStream) -> (Ending, String) {
        if stream.isStopped { return (.stop, plan.note) }
        if isCancelled { return (.cancelled, plan.note) }
        if stream.numTokens < plan.maxNewTokens { return (.stop, plan.note) }  // a stop token that the runner keeps
        if plan.maxNewTokens < plan.wanted { return (.context, context.endSentence) }
        return (.length, plan.note)
    }
}
