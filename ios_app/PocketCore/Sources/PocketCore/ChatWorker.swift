// Owns the chat's state and its engine: events come from anywhere, the state changes in one queue, the engine runs in
// another, and what the engine says comes back as events.
import Foundation

/// The chat of one screen. Every method may be called from any thread.
public final class ChatWorker: @unchecked Sendable {
    /// Text reaches the screen at most so often.
    static let batchS = 0.05

    private let find: @Sendable (PackageId) -> InstalledPackage?
    private let historyFolder: URL
    private let settings: @Sendable (PackageId) -> ChatSettings
    private let onState: @Sendable (ChatState) -> Void
    private let onNotice: @Sendable (Refusal) -> Void
    private let states = DispatchQueue(label: "ai.pocketlm.states")
    private let work = DispatchQueue(label: "ai.pocketlm.engine", qos: .userInitiated)
    private let seat: EngineSeat
    /// Set in the queue `states` alone.
    private let inStates = DispatchSpecificKey<Bool>()

    // In `states` only.
    private var current = ChatState.empty
    /// Counts loads and unloads: what an engine says that was let go is not heard.
    private var epoch = 0
    /// Counts questions.
    private var turn = 0

    /// - Parameters:
    ///   - factory: makes the engine of a package; called in the engine's queue.
    ///   - find: an installed package by its id.
    ///   - historyFolder: holds a file for each package's chat.
    ///   - settings: of a package's new chats.
    ///   - onState: told each state, in order, in the worker's queue.
    ///   - onNotice: told what went wrong beside the chat: a history that cannot be written.
    public init(
        factory: @escaping EngineFactory, find: @escaping @Sendable (PackageId) -> InstalledPackage?,
        historyFolder: URL, settings: @escaping @Sendable (PackageId) -> ChatSettings,
        onState: @escaping @Sendable (ChatState) -> Void,
        onNotice: @escaping @Sendable (Refusal) -> Void = { _ in }
    ) {
        self.find = find
        self.historyFolder = historyFolder
        self.settings = settings
        self.onState = onState
        self.onNotice = onNotice
        seat = EngineSeat(factory: factory)
        states.setSpecific(key: inStates, value: true)
    }

    /// After all events that were sent before.
    public var state: ChatState {
        DispatchQueue.getSpecific(key: inStates) != nil ? current : states.sync { current }
    }

    /// Something happened.
    public func send(_ event: ChatEvent) { states.async { self.reduce(event) } }

    /// Runs a task on the engine's thread, after everything that was asked of it before.
    public func execute(_ task: @escaping @Sendable () -> Void) {
        states.async { self.work.async { task() } }
    }

    /// Waits until everything that was asked before is done, saved chats included.
    public func flush() {
        states.sync {}
        work.sync {}
    }

    /// Lets the engine go, after the chat was saved, and waits for it.
    public func close() {
        send(.packageClosed)
        flush()
    }

    private func reduce(_ event: ChatEvent) {
        let (next, effects) = ChatReducer.reduce(current, event)
        let hasChanged = next != current
        current = next
        if hasChanged { onState(next) }
        for effect in effects { perform(effect) }
    }

    private func perform(_ effect: ChatEffect) {
        switch effect {
        case .cancel: return seat.cancel(turn)
        case .load, .unload: epoch += 1
        case .send, .regenerate: turn += 1
        case .restore, .save, .reset: break
        }
        let order = Order(epoch: epoch, turn: turn, settings: current.chat?.settings ?? ChatSettings())
        work.async { self.run(effect, order) }
    }

    /// What the engine's queue must know of an effect beside itself.
    private struct Order {
        let epoch: Int
        let turn: Int
        let settings: ChatSettings
    }

    /// Events of an engine that was let go in the meantime are dropped.
    private func say(_ event: ChatEvent, _ epoch: Int) {
        states.async { if epoch == self.epoch { self.reduce(event) } }
    }

    // What follows runs in `work`.

    private func run(_ effect: ChatEffect, _ order: Order) {
        switch effect {
        case .load(let id): load(id, order.epoch)
        case .unload: seat.leave()
        case .send(let text):
            answer(order) { try $0.send(text, maxNewTokens: $1, isCancelled: $2, onText: $3) }
        case .regenerate:
            answer(order) { try $0.regenerate(maxNewTokens: $1, isCancelled: $2, onText: $3) }
        case .restore(let messages): restore(messages, order.epoch)
        case .save(let id, let messages): save(id, messages)
        case .reset: seat.session = nil
        case .cancel: break
        }
    }

    private func load(_ id: PackageId, _ epoch: Int) {
        do {
            guard let package = find(id) else {
                throw PocketError(Refusal(.fileMissing, ["file": Manifest.fileName]))
            }
            let messages = try history(id)
            try seat.take(package)
            say(.loaded(id, messages: messages, settings: settings(id)), epoch)
        } catch {
            seat.leave()
            say(.loadFailed(id, Refusal(error, otherwise: .engineFailed)), epoch)
        }
    }

    private func answer(
        _ order: Order, _ stream: (Session, Int, () -> Bool, (String) -> Void) throws -> Void
    ) {
        let epoch = order.epoch
        do {
            let session = try seat.session(system: order.settings.system)
            seat.engine?.temperature = order.settings.temperature
            var batch = TextBatch()
            let isCancelled = { self.seat.isCancelled(order.turn) }
            try stream(session, order.settings.budget, isCancelled) { text in
                if let ready = batch.add(text) { self.say(.textArrived(ready), epoch) }
            }
            if let rest = batch.rest() { say(.textArrived(rest), epoch) }
            guard var reply = session.reply else { return }
            reply.note = Sentences.asSentence(reply.note)
            say(
                .replyEnded(
                    messages: session.messages, reply: reply, mark: try session.mark(),
                    statistics: reply.newTokens > 0 ? seat.statistics(reply) : nil), epoch)
        } catch {
            let refusal = Refusal(error, otherwise: .engineFailed)
            say(.replyFailed(messages: seat.session?.messages ?? [], refusal: refusal), epoch)
        }
    }

    private func restore(_ messages: [Message], _ epoch: Int) {
        guard seat.engine != nil else { return }  // the load before it has failed and said so
        let system = messages.first.flatMap { $0.role == "system" ? $0.content : nil }
        do {
            seat.session = nil
            let session = try seat.session(system: system)
            if !messages.contains(where: { $0.role == "assistant" }) {
                say(.restored(messages: session.messages, mark: .start, note: ""), epoch)
                return
            }
            let kept = try session.restore(messages)
            let note = Sentences.asSentence(kept.note)
            say(.restored(messages: session.messages, mark: try session.mark(), note: note), epoch)
        } catch {
            say(.replyFailed(messages: messages, refusal: Refusal(error, otherwise: .engineFailed)), epoch)
        }
    }

    private func historyFile(_ id: PackageId) -> URL {
        historyFolder.appendingPathComponent("\(id.short).json")
    }

    /// The saved messages; an unreadable file is put aside and said, and the next load begins a new chat.
    private func history(_ id: PackageId) throws -> [Message] {
        let file = historyFile(id)
        guard FileManager.default.fileExists(atPath: file.path) else { return [] }
        do {
            let saved = try History.load(file)
            return saved.packageId == id ? saved.messages : []
        } catch {
            let aside = "\(id.short).damaged.json"
            try? Files.rename(file, to: historyFolder.appendingPathComponent(aside))
            let said = (error as? PocketError)?.text ?? error.localizedDescription
            let reason = said.replacingOccurrences(of: "; remove it to start a new chat", with: "")
            throw PocketError(Refusal(.historyDamaged, ["reason": Refusal.reason(reason), "file": aside]))
        }
    }

    private func save(_ id: PackageId, _ messages: [Message]) {
        do {
            try FileManager.default.createDirectory(at: historyFolder, withIntermediateDirectories: true)
            try History.save(SavedChat(packageId: id, messages: messages), to: historyFile(id))
        } catch {
            onNotice(Refusal(error))
        }
    }
}
