// The place of the one engine and its session. The engine's queue owns it; only `cancel` comes from elsewhere.
import Foundation

final class EngineSeat: @unchecked Sendable {
    private let factory: EngineFactory
    private let lock = NSLock()
    private var package: InstalledPackage?
    private var running: Session?
    private var cancelledTurn: Int?
    private(set) var engine: (any LlmEngine)?

    init(factory: @escaping EngineFactory) {
        self.factory = factory
    }

    var session: Session? {
        get { lock.withLock { running } }
        set { lock.withLock { running = newValue } }
    }

    /// Loads a package's engine in place of any other.
    func take(_ package: InstalledPackage) throws {
        leave()
        let engine = try factory(package)
        self.engine = engine
        try engine.load()
        self.package = package
    }

    /// Frees the engine.
    func leave() {
        session = nil
        engine?.close()
        (engine, package) = (nil, nil)
    }

    /// The chat's session, a new one where there is none.
    func session(system: String?) throws -> Session {
        if let session { return session }
        guard let engine, let manifest = package?.manifest else {
            throw PocketError(Refusal(.engineInvalidState, ["code": "2"]))
        }
        let specials = manifest.tokenizer.specialTokens.map { (id: $0.id, text: $0.text) }
        let turns = Turns(
            template: manifest.template, specialTokens: specials, stopIds: manifest.tokenizer.stopIds)
        let made = try Session(engine: engine, turns: turns, context: manifest.context, system: system)
        session = made
        return made
    }

    func statistics(_ reply: Reply) -> Statistics {
        engine?.lastStatistics.flatMap(Statistics.ofReport) ?? Statistics.ofReply(reply)
    }

    /// Ends a turn soon, also one that has not begun yet.
    func cancel(_ turn: Int) {
        lock.withLock { cancelledTurn = turn }
        session?.cancel()
    }

    func isCancelled(_ turn: Int) -> Bool { lock.withLock { cancelledTurn == turn } }
}

/// Gathers pieces of text, so that the screen is drawn at most every `ChatWorker.batchS` seconds.
struct TextBatch {
    private var waiting = ""
    private var lastS = -Double.infinity

    /// The text that is to be shown now, or nil while it waits.
    mutating func add(_ text: String) -> String? {
        waiting += text
        let now = Session.uptime()
        if now - lastS < ChatWorker.batchS { return nil }
        lastS = now
        return rest()
    }

    mutating func rest() -> String? {
        defer { waiting = "" }
        return waiting.isEmpty ? nil : waiting
    }
}
