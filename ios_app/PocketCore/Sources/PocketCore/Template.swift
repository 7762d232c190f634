// How a conversation becomes the text that the model reads: prefixes and suffixes instead of Jinja.

/// One message of a conversation.
public struct Message: Hashable, Sendable {
    /// "system", "user" or "assistant".
    public var role: String
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}

/// What stands around one role's text.
public struct Role: Equatable, Sendable {
    public let prefix: String
    public let suffix: String
    /// Whether white space is taken off both ends of the content.
    public let trim: Bool
}

/// A package's chat format, or the reason why it has none.
public enum Template: Equatable, Sendable {
    case chat(ChatTemplate)
    /// The model continues text.
    case completion(reason: String)
}

/// A chat format as data. A model that takes no system message has no role "system".
public struct ChatTemplate: Equatable, Sendable {
    public static let roleNames = ["system", "user", "assistant"]

    /// What trimming takes away: Python's str.isspace, spelled out because Swift's set is another.
    static let whitespace: Set<UInt32> = Set(
        [0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
            + Array(0x09...0x0D) + Array(0x1C...0x1F) + Array(0x2000...0x200A))

    /// Once, at the beginning of the conversation, after BOS.
    public var start: String
    public let roles: [String: Role]
    /// System text of a conversation without a system message; nil: nothing is written.
    public var defaultSystem: String?
    public let generationPrompt: String
    /// Texts of the tokens that end the assistant's turn; its suffix begins with the first.
    public let endOfTurn: [String]
    /// Whether the model insists on user, assistant, user, ...
    public var alternates: Bool

    init(
        start: String, roles: [String: Role], defaultSystem: String?, generationPrompt: String, endOfTurn: [String],
        alternates: Bool
    ) throws {
        let isKnown = roles.keys.allSatisfy(Self.roleNames.contains)
        guard isKnown, roles["user"] != nil, let assistant = roles["assistant"] else {
            throw PocketError(
                "a chat template has the roles \(Shown.sorted(Array(roles.keys))); it needs user and assistant, may "
                    + "have system, and knows no other")
        }
        if defaultSystem != nil, roles["system"] == nil {
            throw PocketError("a chat template has a default system text but no role 'system' to write it with")
        }
        guard let first = endOfTurn.first, Array(assistant.suffix.utf8).starts(with: first.utf8) else {
            throw PocketError("a chat template's assistant suffix must begin with its first end-of-turn token")
        }
        self.start = start
        self.roles = roles
        self.defaultSystem = defaultSystem
        self.generationPrompt = generationPrompt
        self.endOfTurn = endOfTurn
        self.alternates = alternates
    }

    /// The whole conversation as text, without BOS.
    ///
    /// - Parameters:
    ///   - messages: at least one; a system message can only come first.
    ///   - addGenerationPrompt: whether the text ends with the opening of the assistant's turn.
    ///   - specials: texts of the special tokens, which contents must not hold; nil leaves them as they are.
    /// - Throws: `PocketError`: no message, a system message that is not the first or not supported, an unknown role,
    ///   or an order that the model refuses.
    public func render(_ messages: [Message], addGenerationPrompt: Bool, specials: [String]? = nil) throws -> String {
        try check(messages)
        var text = start
        if let defaultSystem, messages.first?.role != "system" {
            text += wrap("system", defaultSystem)
        }
        for message in messages {
            text += wrap(message.role, try content(message.role, message.content, specials))
        }
        return addGenerationPrompt ? text + generationPrompt : text
    }

    /// What is sent after an assistant's turn instead of the whole conversation.
    ///
    /// It begins with the end-of-turn token: the runner never writes the last sampled token to the cache. The same text
    /// follows a reply that was stopped before its end.
    public func delta(_ userText: String, specials: [String]? = nil) throws -> String {
        let user = wrap("user", try content("user", userText, specials))
        return (roles["assistant"]?.suffix ?? "") + user + generationPrompt
    }

    private func check(_ messages: [Message]) throws {
        if messages.isEmpty { throw PocketError("the conversation is empty; give at least one message") }
        for (index, message) in messages.enumerated() {
            if !Self.roleNames.contains(message.role) {
                let known = Self.roleNames.joined(separator: ", ")
                throw PocketError("unknown role \(Shown.repr(message.role)); known: \(known)")
            }
            if message.role != "system" { continue }
            if roles["system"] == nil {
                throw PocketError(
                    "this model takes no system message; leave it out or put it into the first question")
            }
            if index > 0 {
                throw PocketError("message \(index) is a system message; there is at most one, and it comes first")
            }
        }
        let turns = messages.map(\.role).filter { $0 != "system" }
        if alternates, turns.enumerated().contains(where: { $1 != ($0 % 2 == 0 ? "user" : "assistant") }) {
            throw PocketError(
                "this model takes user and assistant messages in turn, the user's first; got "
                    + turns.joined(separator: ", "))
        }
    }

    private func wrap(_ role: String, _ content: String) -> String {
        guard let role = roles[role] else { return content }
        return role.prefix + content + role.suffix
    }

    private func content(_ role: String, _ text: String, _ specials: [String]?) throws -> String {
        let trimmed = roles[role]?.trim == true ? Self.trim(text) : text
        return try specials.map { try Typed.neutralise(trimmed, $0) } ?? trimmed
    }

    private static func trim(_ text: String) -> String {
        let scalars = text.unicodeScalars
        guard let first = scalars.firstIndex(where: { !whitespace.contains($0.value) }),
            let last = scalars.lastIndex(where: { !whitespace.contains($0.value) })
        else { return "" }
        return String(scalars[first...last])
    }
}
