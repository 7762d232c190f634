// The chat's worker over a fake engine: events, effects, saved chats, loads that fail, engines that are let go.
import Foundation
import XCTest

@testable import PocketCore

/// Replies with the question's letters, one a token.
private final class EchoEngine: LlmEngine, @unchecked Sendable {
    private let flag = StopFlag()
    private let loadError: RunnerFailure?
    var position = 0
    var temperature = 0.0
    let countIsExact = true
    let lastStatistics: String? = nil
    /// Called before each token.
    var onToken: (Int) -> Void = { _ in }
    private(set) var isLoaded = false

    init(loadError: RunnerFailure? = nil) {
        self.loadError = loadError
    }

    func load() throws {
        if let loadError { throw loadError }
        isLoaded = true
    }

    func close() { isLoaded = false }
    func count(_ text: String, first: Bool) -> Int { text.utf8.count }
    func prefill(_ text: String, first: Bool) { position += text.utf8.count }

    func stream(_ text: String, first: Bool, maxNewTokens: Int, onPiece: (Piece) -> Void) throws {
        flag.lower()
        position += text.utf8.count
        for (index, byte) in text.utf8.prefix(maxNewTokens).enumerated() {
            onToken(index)
            onPiece(Piece(data: [byte]))
            if flag.isRaised { return }
            position += 1
        }
    }

    func stop() { flag.raise() }
    func reset() { position = 0 }
}

private final class Seen: @unchecked Sendable {
    private let lock = NSLock()
    private var states: [ChatState] = []
    private var notices: [Refusal] = []

    func add(_ state: ChatState) { lock.withLock { states.append(state) } }
    func add(_ notice: Refusal) { lock.withLock { notices.append(notice) } }
    var all: [ChatState] { lock.withLock { states } }
    var said: [Refusal] { lock.withLock { notices } }
}

final class WorkerTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "/")
    private let seen = Seen()

    override func setUpWithError() throws { folder = try scratch() }
    override func tearDownWithError() throws { try FileManager.default.removeItem(at: folder) }

    private func worker(_ engine: EchoEngine) throws -> ChatWorker {
        let installed = try package("bounded")  // continues text, 32 tokens
        let seen = self.seen
        return ChatWorker(
            factory: { _ in engine }, find: { $0 == installed.id ? installed : nil }, historyFolder: folder,
            settings: { _ in ChatSettings(temperature: 0) }, onState: { seen.add($0) }, onNotice: { seen.add($0) })
    }

    private var id: PackageId { PackageId(String(repeating: "ab", count: 32)) }

    /// Waits until the worker has nothing more to do.
    private func settle(_ worker: ChatWorker) -> ChatState {
        for _ in 0..<4 { worker.flush() }
        return worker.state
    }

    func testAChatIsAnsweredSavedAndRestored() throws {
        let worker = try worker(EchoEngine())
        worker.send(.packageOpened(id))
        worker.send(.sent("too early"))
        _ = settle(worker)
        worker.send(.sent("Hello"))
        guard case .idle(let chat) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(chat.messages.map(\.content), ["Hello", "Hello"])
        XCTAssertEqual(chat.statistics?.newTokens, 5)
        XCTAssertTrue(seen.all.contains { $0.running?.soFar.isEmpty == false })
        let file = folder.appendingPathComponent("\(id.short).json")
        XCTAssertEqual(try History.load(file).messages, chat.messages)
        worker.close()
        XCTAssertEqual(worker.state, .empty)

        let again = try self.worker(EchoEngine())
        again.send(.packageOpened(id))
        guard case .idle(let restored) = settle(again) else { return XCTFail("\(again.state)") }
        XCTAssertEqual(restored.messages, chat.messages)
        again.send(.newChatTapped)
        _ = settle(again)
        XCTAssertEqual(try History.load(file).messages, [])
    }

    func testAReplyIsStoppedFromAnotherThread() throws {
        let engine = EchoEngine()
        let worker = try worker(engine)
        engine.onToken = { index in
            if index == 1 {
                worker.send(.stopTapped)
                _ = worker.state
            }
        }
        worker.send(.packageOpened(id))
        worker.send(.newChatTapped)
        _ = settle(worker)
        worker.send(.sent("abcdefgh"))
        guard case .idle(let chat) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(chat.messages.last, Message(role: "assistant", content: "ab"))
        XCTAssertTrue(seen.all.contains { if case .cancelling = $0 { return true } else { return false } })
    }

    func testAStopBeforeTheEngineHasBegunIsHeard() throws {
        let engine = EchoEngine()
        let worker = try worker(engine)
        engine.onToken = { _ in XCTFail("the engine was asked") }
        worker.send(.packageOpened(id))
        _ = settle(worker)
        let gate = DispatchSemaphore(value: 0)
        worker.execute { gate.wait() }
        worker.send(.sent("Hello"))
        worker.send(.stopTapped)
        XCTAssertEqual(worker.state.running?.userText, "Hello")
        gate.signal()
        guard case .idle(let chat) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(chat.messages, [Message(role: "user", content: "Hello")])
        engine.onToken = { _ in }
        worker.send(.regenerateTapped)
        guard case .idle(let again) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(again.messages.last?.content, "Hello")
    }

    func testAFullChatIsRefusedWithItsSentence() throws {
        let worker = try worker(EchoEngine())
        worker.send(.packageOpened(id))
        _ = settle(worker)
        worker.send(.sent(String(repeating: "x", count: 10_000)))
        guard case .idle(let chat) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertTrue(chat.refusal?.text.contains("this package holds 32 in all; send a shorter message.") ?? false)
        XCTAssertEqual(chat.messages.count, 1, "the question stays, unanswered")
    }

    func testALoadThatFailsSaysWhy() throws {
        let worker = try worker(EchoEngine(loadError: RunnerFailure(code: 0x21, detail: "")))
        worker.send(.packageOpened(id))
        guard case .loadFailed(_, let refusal) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(refusal.key, .engineMemory)
        worker.send(.packageOpened(PackageId(String(repeating: "cd", count: 32))))
        guard case .loadFailed(_, let missing) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(missing.key, .fileMissing)
    }

    func testLowMemoryInTheMiddleOfAReplyKeepsWhatWasShown() throws {
        let engine = EchoEngine()
        let worker = try worker(engine)
        engine.onToken = { index in
            if index == 2 {
                worker.send(.memoryLow)
                _ = worker.state
            }
        }
        worker.send(.packageOpened(id))
        _ = settle(worker)
        worker.send(.sent("abcdefgh"))
        guard case .unloaded(let chat, .memory) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertFalse(engine.isLoaded)
        let shown = chat.messages.last?.content ?? ""
        XCTAssertTrue("abcdefgh".hasPrefix(shown) && !shown.isEmpty, shown)
        let saved = try History.load(folder.appendingPathComponent("\(id.short).json"))
        XCTAssertEqual(saved.messages, chat.messages)
        worker.send(.cameToForeground)
        guard case .idle = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertTrue(engine.isLoaded)
    }

    func testADamagedHistoryIsPutAsideAndSaid() throws {
        let file = folder.appendingPathComponent("\(id.short).json")
        try Data("{".utf8).write(to: file)
        let worker = try worker(EchoEngine())
        worker.send(.packageOpened(id))
        guard case .loadFailed(_, let refusal) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(refusal.key, .historyDamaged)
        worker.send(.packageOpened(id))
        guard case .idle(let chat) = settle(worker) else { return XCTFail("\(worker.state)") }
        XCTAssertEqual(chat.messages, [])
        XCTAssertEqual(Files.names(in: folder), ["\(id.short).damaged.json"])
    }

    func testATaskRunsAfterTheModelWasLetGo() throws {
        let engine = EchoEngine()
        let worker = try worker(engine)
        worker.send(.packageOpened(id))
        _ = settle(worker)
        XCTAssertTrue(engine.isLoaded)
        worker.send(.packageClosed)
        let seen = self.seen
        worker.execute { seen.add(Refusal(key: nil, text: engine.isLoaded ? "loaded" : "gone")) }
        _ = settle(worker)
        XCTAssertEqual(seen.said.map(\.text), ["gone"])
    }
}
