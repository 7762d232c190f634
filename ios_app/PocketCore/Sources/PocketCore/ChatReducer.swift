// What each event makes of a chat's state, and what is then to be done. Pure: nothing here runs a model or a disk.

public enum ChatReducer {
    public typealias Result = (state: ChatState, effects: [ChatEffect])

    /// The state after an event, and the effects in order. An event that does not apply leaves the state as it is.
    public static func reduce(_ state: ChatState, _ event: ChatEvent) -> Result {
        handle(state, event) ?? (state, [])
    }

    private static func handle(_ state: ChatState, _ event: ChatEvent) -> Result? {
        switch event {
        case .packageOpened(let id): return opened(state, id)
        case .packageClosed: return state == .empty ? nil : (.empty, letGo(state))
        case .loaded(let id, let messages, let settings): return loaded(state, id, messages, settings)
        case .loadFailed(let id, let refusal): return loadFailed(state, id, refusal)
        case .sent(let text): return state.idle.map { ask($0, text) }
        case .textArrived(let text): return arrived(state, text)
        case .replyEnded(let messages, let reply, let mark, let statistics):
            return ended(state, messages, reply, mark, statistics)
        case .replyFailed(let messages, let refusal): return failed(state, messages, refusal)
        case .stopTapped: return stop(state)
        case .regenerateTapped: return state.idle.flatMap(regenerate)
        case .newChatTapped: return state.idle.map(newChat)
        case .settingsChanged(let settings): return changed(state, settings)
        case .restored(let messages, let mark, let note): return restored(state, messages, mark, note)
        case .memoryLow: return unload(state, .memory)
        case .wentToBackground: return unload(state, .background)
        case .thermalCritical: return unload(state, .thermal)
        case .cameToForeground: return foreground(state)
        }
    }

    private static func opened(_ state: ChatState, _ id: PackageId) -> Result? {
        switch state {
        case .empty, .loadFailed: return (.loading(id), [.load(id)])
        case .loading(let other): return other == id ? nil : (.loading(id), [.unload, .load(id)])
        case .unloaded(let chat, _) where chat.packageId == id: return loadAgain(chat)
        default: return state.chat?.packageId == id ? nil : (.loading(id), letGo(state) + [.load(id)])
        }
    }

    /// What ends a chat that stays on disk.
    private static func letGo(_ state: ChatState) -> [ChatEffect] {
        switch state {
        case .empty, .loadFailed, .unloaded: return []
        case .loading, .idle, .restoring: return [.unload]
        case .prefilling(let chat, _), .replying(let chat, _, _), .cancelling(let chat, _, _):
            return [.cancel, .save(chat.packageId, cut(state)), .unload]
        }
    }

    /// The messages of a chat whose reply is cut off now: what was shown of it stays.
    private static func cut(_ state: ChatState) -> [Message] {
        guard let chat = state.chat, let running = state.running else { return state.chat?.messages ?? [] }
        let said = chat.messages + [Message(role: "user", content: running.userText)]
        return running.soFar.isEmpty ? said : said + [Message(role: "assistant", content: running.soFar)]
    }

    private static func loadAgain(_ chat: Chat) -> Result {
        (.restoring(chat), [.load(chat.packageId), .restore(wholeTurns(chat.messages))])
    }

    private static func loaded(
        _ state: ChatState, _ id: PackageId, _ messages: [Message], _ settings: ChatSettings
    ) -> Result? {
        guard state == .loading(id) else { return nil }
        if messages.isEmpty { return (.idle(fresh(id, settings)), []) }
        var settings = settings
        settings.system = messages.first.flatMap { $0.role == "system" ? $0.content : nil }
        let chat = Chat(packageId: id, messages: messages, settings: settings)
        if !hasTurns(messages) { return (.idle(chat), []) }
        return (.restoring(chat), [.restore(wholeTurns(messages))])
    }

    private static func loadFailed(_ state: ChatState, _ id: PackageId, _ refusal: Refusal) -> Result? {
        switch state {
        case .loading(id): return (.loadFailed(id, refusal), [])
        case .restoring(let chat) where chat.packageId == id: return (.loadFailed(id, refusal), [])
        default: return nil
        }
    }

    private static func ask(_ chat: Chat, _ text: String) -> Result {
        var chat = chat
        chat.messages = wholeTurns(chat.messages)
        (chat.note, chat.refusal) = ("", nil)
        let asked = chat.messages + [Message(role: "user", content: text)]
        return (.prefilling(chat, userText: text), [.save(chat.packageId, asked), .send(text)])
    }

    private static func regenerate(_ chat: Chat) -> Result? {
        guard let last = chat.messages.last else { return nil }
        if last.role == "user" { return ask(chat, last.content) }
        if last.role != "assistant" { return nil }
        let before = Array(chat.messages.dropLast())
        let text = before[before.count - 1].content
        var chat = chat
        chat.messages = Array(before.dropLast())
        (chat.note, chat.refusal) = ("", nil)
        return (.prefilling(chat, userText: text), [.save(chat.packageId, before), .regenerate])
    }

    private static func arrived(_ state: ChatState, _ text: String) -> Result? {
        if text.isEmpty { return nil }
        switch state {
        case .prefilling(let chat, let userText): return (.replying(chat, userText: userText, soFar: text), [])
        case .replying(let chat, let userText, let soFar):
            return (.replying(chat, userText: userText, soFar: soFar + text), [])
        case .cancelling(let chat, let userText, let soFar):
            return (.cancelling(chat, userText: userText, soFar: soFar + text), [])
        default: return nil
        }
    }

    private static func stop(_ state: ChatState) -> Result? {
        switch state {
        case .prefilling(let chat, let userText):
            return (.cancelling(chat, userText: userText, soFar: ""), [.cancel])
        case .replying(let chat, let userText, let soFar):
            return (.cancelling(chat, userText: userText, soFar: soFar), [.cancel])
        default: return nil
        }
    }

    private static func ended(
        _ state: ChatState, _ messages: [Message], _ reply: Reply, _ mark: Mark, _ statistics: Statistics?
    ) -> Result? {
        guard let running = state.running, var chat = state.chat else { return nil }
        chat.messages = after(chat, running.userText, messages)
        (chat.mark, chat.note, chat.statistics) = (mark, reply.note, statistics)
        return (.idle(chat), [.save(chat.packageId, chat.messages)])
    }

    private static func failed(_ state: ChatState, _ messages: [Message], _ refusal: Refusal) -> Result? {
        guard var chat = state.chat else { return nil }
        chat.refusal = refusal
        if case .restoring = state {
            (chat.messages, chat.mark) = (messages, .start)
            return (.idle(chat), [])
        }
        guard let running = state.running else { return nil }
        chat.messages = after(chat, running.userText, messages)
        return (.idle(chat), [.save(chat.packageId, chat.messages)])
    }

    /// The session's messages, and the question that it did not take in.
    private static func after(_ chat: Chat, _ userText: String, _ messages: [Message]) -> [Message] {
        messages.count > chat.messages.count ? messages : messages + [Message(role: "user", content: userText)]
    }

    private static func restored(_ state: ChatState, _ messages: [Message], _ mark: Mark, _ note: String) -> Result? {
        guard case .restoring(var chat) = state else { return nil }
        chat.messages = messages + chat.messages.dropFirst(wholeTurns(chat.messages).count)
        (chat.mark, chat.note, chat.refusal) = (mark, note, nil)
        return (.idle(chat), [])
    }

    private static func newChat(_ chat: Chat) -> Result {
        let chat = fresh(chat.packageId, chat.settings)
        return (.idle(chat), [.reset, .save(chat.packageId, chat.messages)])
    }

    private static func changed(_ state: ChatState, _ settings: ChatSettings) -> Result? {
        guard var chat = state.chat else { return nil }
        let isSameSystem = chat.settings.system == settings.system
        chat.settings = settings
        if isSameSystem { return (state.with(chat), []) }
        chat.messages = system(settings.system) + chat.messages.filter { $0.role != "system" }
        let save = ChatEffect.save(chat.packageId, chat.messages)
        switch state {
        case .unloaded: return (state.with(chat), [save])
        case .idle where !hasTurns(chat.messages): return (.idle(chat), [.reset, save])
        case .idle: return (.restoring(chat), [save, .restore(wholeTurns(chat.messages))])
        default: return nil
        }
    }

    private static func unload(_ state: ChatState, _ reason: UnloadReason) -> Result? {
        if case .unloaded = state { return nil }
        guard var chat = state.chat else { return nil }
        chat.messages = cut(state)
        return (.unloaded(chat, reason), letGo(state))
    }

    private static func foreground(_ state: ChatState) -> Result? {
        guard case .unloaded(let chat, let reason) = state, reason != .thermal else { return nil }
        return loadAgain(chat)
    }

    /// A chat in which nothing was said.
    private static func fresh(_ id: PackageId, _ settings: ChatSettings) -> Chat {
        Chat(packageId: id, messages: system(settings.system), settings: settings)
    }

    private static func system(_ text: String?) -> [Message] {
        text.map { [Message(role: "system", content: $0)] } ?? []
    }

    private static func hasTurns(_ messages: [Message]) -> Bool { messages.contains { $0.role == "assistant" } }

    /// Without an unanswered last message.
    private static func wholeTurns(_ messages: [Message]) -> [Message] {
        messages.last?.role == "user" ? Array(messages.dropLast()) : messages
    }
}

extension ChatState {
    /// The conversation, where one is shown.
    public var chat: Chat? {
        switch self {
        case .empty, .loading, .loadFailed: return nil
        case .idle(let chat), .restoring(let chat), .unloaded(let chat, _): return chat
        case .prefilling(let chat, _), .replying(let chat, _, _), .cancelling(let chat, _, _): return chat
        }
    }

    /// The question that is being answered, and what has come of the answer.
    public var running: (userText: String, soFar: String)? {
        switch self {
        case .prefilling(_, let userText): return (userText, "")
        case .replying(_, let userText, let soFar), .cancelling(_, let userText, let soFar): return (userText, soFar)
        default: return nil
        }
    }

    fileprivate var idle: Chat? {
        if case .idle(let chat) = self { return chat }
        return nil
    }

    fileprivate func with(_ chat: Chat) -> ChatState {
        switch self {
        case .empty, .loading, .loadFailed: return self
        case .idle: return .idle(chat)
        case .prefilling(_, let userText): return .prefilling(chat, userText: userText)
        case .replying(_, let userText, let soFar): return .replying(chat, userText: userText, soFar: soFar)
        case .cancelling(_, let userText, let soFar): return .cancelling(chat, userText: userText, soFar: soFar)
        case .restoring: return .restoring(chat)
        case .unloaded(_, let reason): return .unloaded(chat, reason)
        }
    }
}
