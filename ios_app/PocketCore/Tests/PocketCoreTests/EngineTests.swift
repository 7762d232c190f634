// Engines over fakes: stops in the prompt and at the first token, long texts, positions, bounded ends.
import XCTest

@testable import PocketCore

final class EngineTests: XCTestCase {
    private func context(_ kind: Context.Kind, _ tokens: Int) throws -> Context {
        try Context(kind: kind, tokens: tokens)
    }

    func testAStreamGivesPiecesUntilAStopIdAndCountsPositions() throws {
        let runner = ScriptedRunner([40, 41, 2, 50], context: try context(.endless, 100))
        let engine = TokenEngine(tokenizer: LetterTokenizer(), runner: runner, stopIds: [2])
        var pieces: [Piece] = []
        try engine.stream("ab", first: true, maxNewTokens: 10) { pieces.append($0) }
        XCTAssertEqual(
            pieces, [Piece(data: [72]), Piece(data: [73]), Piece(data: [34], isStop: true)])
        XCTAssertEqual(engine.position, 5)
        XCTAssertEqual(runner.written.map(\.position), [0, 1, 2, 3, 4])
        XCTAssertEqual(try engine.count("ab", first: true), 3)
    }

    func testAStopInThePromptEndsTheStreamWithoutAToken() throws {
        let runner = ScriptedRunner([40, 41], context: try context(.endless, 100))
        let engine = TokenEngine(tokenizer: LetterTokenizer(), runner: runner, stopIds: [])
        var calls = 0
        runner.onCall = {
            calls += 1
            if calls == 3 { engine.stop() }
        }
        try engine.stream("a long prompt", first: true, maxNewTokens: 5) { _ in XCTFail("a token came") }
        XCTAssertEqual(calls, 3)
        var pieces = 0
        try engine.stream("a", first: false, maxNewTokens: 1) { _ in pieces += 1 }
        XCTAssertEqual(pieces, 1, "an old stop must not end a new stream")
    }

    func testABoundedContextEndsAStreamBeforeATokenThatDoesNotFit() throws {
        let runner = ScriptedRunner([40, 40, 40, 40], context: try context(.bounded, 6))
        let engine = TokenEngine(tokenizer: LetterTokenizer(), runner: runner, stopIds: [])
        var pieces = 0
        try engine.stream("abcd", first: false, maxNewTokens: 9) { _ in pieces += 1 }
        XCTAssertEqual(pieces, 3)
        XCTAssertEqual(runner.written.map(\.position), [0, 1, 2, 3, 4, 5])
    }

    func testAStopThatTheRunnerLosesIsRepeated() throws {
        let runner = FlagRunner(reply: ["a", "b", "c", "d", "e"], context: 64)
        let engine = RunnerEngine(runner: runner, manifest: try manifest("endless"))
        var text = ""
        try engine.stream("Hello", first: true, maxNewTokens: 5) { piece in
            text += String(decoding: piece.data, as: UTF8.self)
            if text == "a" { engine.stop() }
        }
        XCTAssertEqual(text, "ab")
        runner.onPrompt = { engine.stop() }
        text = ""
        try engine.stream("Hello", first: false, maxNewTokens: 5) { piece in
            text += String(decoding: piece.data, as: UTF8.self)
        }
        XCTAssertEqual(text, "ab", "stopped in the prompt: the second token is the first that hears it")
    }

    func testCountsAreBoundsAndReportsPutThePositionRight() throws {
        let runner = FlagRunner(reply: ["a", "b", "c"], context: 64)
        let engine = RunnerEngine(runner: runner, manifest: try manifest("endless"))
        XCTAssertFalse(engine.countIsExact)
        XCTAssertEqual(try engine.count("é", first: true), 3)
        try engine.stream("Hello", first: true, maxNewTokens: 3) { _ in }
        XCTAssertEqual(engine.position, 5 + 2, "without the BOS that the bound counts")
        XCTAssertEqual(engine.lastStatistics.flatMap(Statistics.ofReport)?.newTokens, 3)
        try engine.reset()
        XCTAssertEqual(engine.position, 0)
    }

    func testATextAsLongAsTheContextIsPrefilledFirst() throws {
        let runner = FlagRunner(reply: ["a", "b"], context: 64)
        let engine = RunnerEngine(runner: runner, manifest: try manifest("endless"))
        var pieces = 0
        try engine.stream(String(repeating: "x", count: 100), first: true, maxNewTokens: 2) { _ in pieces += 1 }
        XCTAssertEqual(pieces, 2)
        XCTAssertEqual(runner.log, ["prefill 100", "generate 0"])
        XCTAssertEqual(engine.position, 101)
    }

    func testARuntimesFailureIsASentence() {
        let refusal = Refusal(RunnerFailure(code: 0x21, detail: "x"))
        XCTAssertEqual(refusal.key, .engineMemory)
        XCTAssertTrue(refusal.text.contains("error 33"))
        XCTAssertEqual(Refusal(PocketError("the chat is full")).text, "The chat is full.")
        let other = NSError(domain: "x", code: 1, userInfo: [NSLocalizedDescriptionKey: "It broke."])
        XCTAssertEqual(
            Refusal(other, otherwise: .engineFailed).text, "The runtime failed: It broke. Load the package again.")
    }

    func testATokenizerThatIsNotKnownIsRefused() {
        let texts = [
            "{", "{}", #"{"model": {"type": "Unigram"}}"#,
            #"{"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": null, "decoder": null}"#,
        ]
        for text in texts {
            XCTAssertThrowsError(try Bpe(Array(text.utf8)), text) { XCTAssertTrue($0 is PocketError) }
        }
    }
}
