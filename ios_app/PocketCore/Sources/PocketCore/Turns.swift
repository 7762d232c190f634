// What to send for each turn: the whole conversation once, then only what is new.
//
// The runner keeps its cache between calls but never writes the last token that it sampled. So a chat's next text
// begins with the end-of-turn token (the assistant's suffix), whether the reply ended by itself or was cut; a
// completion-only package has no such token, and the text of the token that was cut off is sent again. The
// begin-of-text token (an id, or `bos_text`) is the engine's business: it puts it before the first text.
//
// Python and Kotlin replace halves of surrogate pairs here; a Swift String cannot hold one.

/// Builds the texts of one package's chats. Contents are neutralised: they never become special tokens.
public struct Turns: Equatable, Sendable {
    public let template: Template
    /// Texts of the tokenizer's special tokens.
    public let specials: [String]
    /// What ends a reply when a runner delivers it as text.
    public let stopTexts: [String]

    /// Takes the stop texts from the template's end-of-turn tokens and the stop ids' special texts.
    public init(template: Template, specialTokens: [(id: Int, text: String)], stopIds: [Int]) {
        var stops: [String] = []
        if case .chat(let chat) = template { stops = chat.endOfTurn }
        stops += stopIds.compactMap { id in specialTokens.first { $0.id == id }?.text }
        var seen: Set<[UInt8]> = []
        self.template = template
        self.specials = specialTokens.map(\.text)
        self.stopTexts = stops.filter { seen.insert(Array($0.utf8)).inserted }
    }

    /// The first text of a chat, and of one that starts over (a reply again, a reset): it asks for a reply.
    ///
    /// - Parameter messages: an optional system message, then user and assistant in turn, the user's last.
    /// - Throws: `PocketError`: the last message is not the user's, or the template refuses the messages.
    public func firstText(_ messages: [Message]) throws -> String {
        try Self.checkOrder(messages)
        guard messages.last?.role == "user" else {
            throw PocketError("a reply is asked for after a user message; the last message must be the user's")
        }
        let text = try parts(messages).joined()
        if case .chat(let chat) = template { return text + chat.generationPrompt }
        return text
    }

    /// The text of a later turn, when the cache holds everything before it.
    ///
    /// - Parameters:
    ///   - userText: the user's message.
    ///   - lost: the last sampled token's bytes when the reply was cut, empty when it ended by itself. Only a
    ///     completion-only package sends them again, unless they begin or end inside a character.
    public func nextText(_ userText: String, lost: [UInt8]) throws -> String {
        switch template {
        case .chat(let chat): return try chat.delta(userText, specials: specials)
        case .completion: return try Typed.neutralise((Utf8.wholeText(lost) ?? "") + userText, specials)
        }
    }

    /// What brings the cache to where it was after a reply: everything but the end-of-turn token and what follows.
    ///
    /// - Throws: `PocketError`: the last message is not the assistant's, or the template refuses the messages.
    public func restoredText(_ messages: [Message]) throws -> String {
        try Self.checkOrder(messages)
        guard messages.last?.role == "assistant" else {
            throw PocketError("a restored chat ends with a reply; leave an unanswered message to the next turn")
        }
        let text = try parts(messages).joined()
        guard case .chat(let chat) = template, let suffix = chat.roles["assistant"]?.suffix else { return text }
        let bytes = Array(text.utf8)
        guard !suffix.isEmpty, bytes.count >= suffix.utf8.count,
            bytes[(bytes.count - suffix.utf8.count)...].elementsEqual(suffix.utf8)
        else { return text }
        return String(decoding: bytes.dropLast(suffix.utf8.count), as: UTF8.self)
    }

    /// The conversation as text: the head (start and system text, perhaps empty), then one text a message.
    ///
    /// - Throws: `PocketError`: the template refuses the messages; it says why.
    public func parts(_ messages: [Message]) throws -> [String] {
        let hasSystem = messages.first?.role == "system"
        guard case .chat(let chat) = template else {
            if hasSystem {
                throw PocketError("this package only continues text and takes no system message; leave it out")
            }
            return try [""] + messages.map { try Typed.neutralise($0.content, specials) }
        }
        var bare = chat
        (bare.start, bare.defaultSystem, bare.alternates) = ("", nil, false)
        var head = chat.start
        if let system = messages.first, hasSystem {
            head += try bare.render([system], addGenerationPrompt: false, specials: specials)
        } else if let text = chat.defaultSystem {
            head += try bare.render([Message(role: "system", content: text)], addGenerationPrompt: false)
        }
        return try [head]
            + messages.dropFirst(hasSystem ? 1 : 0).map {
                try bare.render([$0], addGenerationPrompt: false, specials: specials)
            }
    }

    /// Checks that after an optional system message user and assistant take turns, the user first.
    ///
    /// - Throws: `PocketError`: a message is out of turn; the message names it.
    public static func checkOrder(_ messages: [Message]) throws {
        let first = messages.first?.role == "system" ? 1 : 0
        for index in messages.indices.dropFirst(first) {
            let expected = (index - first) % 2 == 0 ? "user" : "assistant"
            if messages[index].role != expected {
                throw PocketError(
                    "message \(index) has the role \(Shown.repr(messages[index].role)), but it is the \(expected)'s "
                        + "turn; after an optional system message user and assistant alternate")
            }
        }
    }

    /// The conversation without its last reply: what is asked again, from an empty cache.
    ///
    /// A cache cannot go back: rings have overwritten what an earlier position saw, and the phones' runner only resets.
    ///
    /// - Throws: `PocketError`: there is no reply to replace.
    public static func toRegenerate(_ messages: [Message]) throws -> [Message] {
        guard messages.last?.role == "assistant" else {
            throw PocketError("there is no reply to generate again; send a message first")
        }
        return Array(messages.dropLast())
    }

    public static func == (left: Turns, right: Turns) -> Bool {
        left.template == right.template && left.specials == right.specials && left.stopTexts == right.stopTexts
    }
}
