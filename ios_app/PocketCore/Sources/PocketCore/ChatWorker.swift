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

    // In `states` only.
    private var current = ChatState.empty
    /// Counts loads and unloads: what an engine says that was let go is not heard.
    private var epoch = 0

    /// - Parameters:
    ///   - factory: makes the engine of a package; called in the engine's queue.
    ///   - find: an installed package by its id.
    ///   - historyFolder: holds a file for each package's chat.
    ///   - settings: of a package's new chats.
    ///   - onState: told each state, in order, in the worker's queue.
    ///   - onNotice: told what went wrong beside the chat: a history that cannot be read or written.
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
    }

    public var state: ChatState { states.sync { current } }

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
        if effect == .cancel {
            seat.cancel()
            return
        }
        switch effect {
        case .load, .unload: epoch += 1
        default: break
        }
        let (epoch, settings) = (self.epoch, current.chat?.settings)
        work.async { self.run(effect, epoch, settings) }
    }

    /// Events of an engine that was let go in the meantime are dropped.
    private func say(_ event: ChatEvent, _ epoch: Int) {
        states.async { if epoch == self.epoch { self.reduce(event) } }
    }

    // What follows runs in `work`.

    private func run(_ effect: ChatEffect, _ epoch: Int, _ settings: ChatSettings?) {
        switch effect {
        case .load(let id): load(id, epoch)
        case .unload: seat.leave()
        case .send(let text): answer(epoch, settings) { try $0.send(text, maxNewTokens: $1, onText: $2) }
        case .regenerate: answer(epoch, settings) { try $0.regenerate(maxNewTokens: $1, onText: $2) }
        case .restore(let messages): restore(messages, epoch)
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
            try seat.take(package)
            say(.loaded(id, messages: history(id), settings: settings(id)), epoch)
        } catch {
            seat.leave()
            say(.loadFailed(id, Refusal(error)), epoch)
        }
    }

    private func answer(
        _ epoch: Int, _ settings: ChatSettings?,
        _ stream: (Session, Int, @escaping (String) -> Void) throws -> Void
    ) {
        let settings = settings ?? ChatSettings()
        do {
            let session = try seat.session(system: settings.system)
            seat.engine?.temperature = settings.temperature
            var batch = TextBatch()
            try stream(session, settings.budget) { text in
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
            say(.replyFailed(messages: seat.session?.messages ?? [], refusal: Refusal(error)), epoch)
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
            say(.replyFailed(messages: messages, refusal: Refusal(error)), epoch)
        }
    }

    private func historyFile(_ id: PackageId) -> URL {
        historyFolder.appendingPathComponent("\(id.short).json")
    }

    /// The saved messages; an unreadable file is put aside and said.
    private func history(_ id: PackageId) -> [Message] {
        let file = historyFile(id)
        guard FileManager.default.fileExists(atPath: file.path) else { return [] }
        do {
            let saved = try History.load(file)
            return saved.packageId == id ? saved.messages : []
        } catch {
            let aside = "\(id.short).damaged.json"
            try? Files.rename(file, to: historyFolder.appendingPathComponent(aside))
            let reason = (error as? PocketError)?.text ?? error.localizedDescription
            onNotice(Refusal(.historyDamaged, ["reason": reason, "file": aside]))
            return []
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
