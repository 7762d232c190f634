// Counts a conversation's tokens: what the model still sees, how much room is left, what a saved chat may bring back.
//
// Positions count tokens since the chat began. An endless context sees the last `tokens` positions for ever; a bounded
// one ends at `tokens`, and nothing after it works, so callers ask here before they send anything.

/// A package's context, as its manifest says it.
public struct Context: Equatable, Sendable {
    public enum Kind: String, CaseIterable, Sendable {
        case endless, bounded
    }

    public let kind: Kind
    public let tokens: Int

    /// - Throws: `PocketError`: fewer than 1 token.
    public init(kind: Kind, tokens: Int) throws {
        if tokens < 1 {
            throw PocketError("a context of \(tokens) tokens holds nothing; it must be at least 1")
        }
        self.kind = kind
        self.tokens = tokens
    }

    /// What to tell the user when a reply was cut because a bounded context is full.
    public var endSentence: String {
        "the reply stops here because the chat has reached this package's limit of \(tokens) tokens; start a new chat "
            + "to go on"
    }
}

/// Where the "older messages are forgotten" line belongs.
public struct Mark: Equatable, Sendable {
    /// The oldest position that the next token sees.
    public var firstVisiblePosition: Int
    /// The oldest turn of which something is seen.
    public var firstVisibleTurn: Int
    /// Whether that turn's beginning is out of sight.
    public var isPartial: Bool

    /// Of a chat without a turn.
    public static let start = Mark(firstVisiblePosition: 0, firstVisibleTurn: 0, isPartial: false)

    public init(firstVisiblePosition: Int, firstVisibleTurn: Int, isPartial: Bool) {
        self.firstVisiblePosition = firstVisiblePosition
        self.firstVisibleTurn = firstVisibleTurn
        self.isPartial = isPartial
    }
}

/// Which messages of a saved chat are prefilled again.
public struct Kept: Equatable, Sendable {
    /// Whether the chat begins with a system message; it is kept whatever its age.
    public let hasSystem: Bool
    /// Index of the oldest other message kept; the number of messages when none is.
    public let first: Int
    /// Of everything kept.
    public let tokens: Int
    /// What the user should know, "" when everything is kept.
    public let note: String
}

public enum Window {
    /// What the next token sees of the conversation.
    ///
    /// - Parameters:
    ///   - turnStarts: each turn's first position, never decreasing; the first is 0, the system message included.
    ///   - position: where the next token will go, that is: how many positions are in the cache.
    /// - Throws: `PocketError`: starts that do not begin with 0, decrease, or lie past `position`.
    public static func mark(turnStarts: [Int], position: Int, context: Context) throws -> Mark {
        if turnStarts != turnStarts.sorted() || (turnStarts.first ?? 0) != 0 {
            throw PocketError("turn starts \(Shown.list(turnStarts)) must begin with 0 and never decrease")
        }
        if position < turnStarts.max() ?? 0 {
            throw PocketError(
                "position \(position) lies before the last turn's start; pass the position after that turn")
        }
        let first = context.kind == .endless ? max(0, position - context.tokens + 1) : 0
        var turn = 0
        while turn + 1 < turnStarts.count, turnStarts[turn + 1] <= first { turn += 1 }
        return Mark(
            firstVisiblePosition: first, firstVisibleTurn: turn,
            isPartial: !turnStarts.isEmpty && turnStarts[turn] < first)
    }

    /// Positions that are left; nil when they never run out.
    ///
    /// - Throws: `PocketError`: a negative position.
    public static func remaining(position: Int, context: Context) throws -> Int? {
        if position < 0 { throw PocketError("position \(position) is negative") }
        return context.kind == .endless ? nil : max(0, context.tokens - position)
    }

    /// How many tokens may be generated after a prompt, so that a bounded context is never overrun.
    ///
    /// The prompt and every new token get a position, the last one too, so that the next turn can still write it.
    ///
    /// - Throws: `PocketError`: nothing to send, nothing wanted, or (of the kind `contextFull`) the prompt and one new
    ///   token do not fit into what is left of a bounded context.
    public static func newTokenBudget(position: Int, promptTokens: Int, wanted: Int, context: Context) throws -> Int {
        if promptTokens < 1 {
            throw PocketError("there is nothing to send: the message has no token; type something")
        }
        if wanted < 1 { throw PocketError("\(wanted) new tokens were asked for; it must be at least 1") }
        guard let left = try remaining(position: position, context: context) else { return wanted }
        if left <= promptTokens {
            let message = "the message has \(promptTokens == 1 ? "1 token" : "\(promptTokens) tokens")"
            if promptTokens >= context.tokens {
                throw PocketError(
                    "\(message) and this package holds \(context.tokens) in all; send a shorter message",
                    kind: .contextFull)
            }
            throw PocketError(
                "the chat is full: \(message), and of the package's \(context.tokens) only \(left) are left; start a "
                    + "new chat", kind: .contextFull)
        }
        return min(wanted, left - promptTokens)
    }

    /// Which messages of a saved chat to prefill again: the system message and the newest whole turns that fit.
    ///
    /// A turn is a user message and what follows it up to the next one. What is kept begins with a user message, in an
    /// endless context too, where an older beginning would only push itself out of sight.
    ///
    /// - Parameters:
    ///   - roles: "system" (only first), "user" or "assistant", oldest first.
    ///   - lengths: each message's tokens, its template prefix and suffix included.
    ///   - reserve: tokens to leave free for the next message and its reply.
    /// - Throws: `PocketError`: lists of unequal length, a role out of place, a negative number, or a system message
    ///   and reserve that alone do not fit into the context.
    public static func restore(roles: [String], lengths: [Int], context: Context, reserve: Int) throws -> Kept {
        try check(roles, lengths, reserve)
        let hasSystem = roles.first == "system"
        let systemTokens = hasSystem ? lengths[0] : 0
        let room = context.tokens - reserve - systemTokens
        if room < 0 {
            throw PocketError(
                "the system message of \(systemTokens) tokens and \(reserve) reserved ones do not fit into this "
                    + "package's context of \(context.tokens); shorten the system message or reserve less")
        }
        let begin = hasSystem ? 1 : 0
        var (first, used, newestTurn, tail) = (roles.count, 0, 0, 0)
        for index in stride(from: roles.count - 1, through: begin, by: -1) {
            tail += lengths[index]
            if roles[index] != "user" { continue }
            if newestTurn == 0 { newestTurn = tail }
            if tail > room { break }
            (first, used) = (index, tail)
        }
        return Kept(
            hasSystem: hasSystem, first: first, tokens: systemTokens + used,
            note: note(dropped: first - begin, kept: roles.count - first, newestTurn: newestTurn, room: room))
    }

    private static func check(_ roles: [String], _ lengths: [Int], _ reserve: Int) throws {
        if roles.count != lengths.count {
            throw PocketError(
                "\(roles.count) roles and \(lengths.count) lengths; give one length for each message")
        }
        if reserve < 0 || lengths.contains(where: { $0 < 0 }) {
            throw PocketError("reserve \(reserve) and lengths \(Shown.list(lengths)) must not be negative")
        }
        if roles.first == "assistant" || roles.prefix(2) == ["system", "assistant"] {
            throw PocketError(
                "the chat begins with an assistant message; after the system message comes a user message")
        }
        for (index, role) in roles.enumerated() {
            if !ChatTemplate.roleNames.contains(role) {
                throw PocketError(
                    "message \(index) has the role \(Shown.repr(role)); it is 'system', 'user' or 'assistant'")
            }
            if role == "system", index > 0 {
                throw PocketError("message \(index) is a system message; only the first message may be one")
            }
        }
    }

    private static func note(dropped: Int, kept: Int, newestTurn: Int, room: Int) -> String {
        if dropped == 0 { return "" }
        if kept == 0 {
            return "the newest turn alone has \(newestTurn) tokens and \(room) fit, so nothing of the saved chat is "
                + "remembered; it stays readable"
        }
        if dropped == 1 { return "1 older message no longer fits and is not remembered; it stays readable" }
        return "\(dropped) older messages no longer fit and are not remembered; they stay readable"
    }
}
