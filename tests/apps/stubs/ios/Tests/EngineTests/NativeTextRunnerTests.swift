// The app's adapter of `TextRunner`, over a stub program: what each call asks of the runner.
import ExecuTorch
import ExecuTorchLLM
import Foundation
import PocketCore
import XCTest

@testable import PocketLM

private final class Scripted: StubTextProgram {
    nonisolated(unsafe) static var calls: [String] = []

    func generate(_ prompt: String, bosCount: Int, maximumNewTokens: Int, onToken: (String) -> Void) throws {
        Self.calls.append("generate \(prompt) bos \(bosCount) new \(maximumNewTokens)")
        if prompt == "fail" { throw stubError(code: 1) }
        for number in 0..<maximumNewTokens { onToken("t\(number)") }
    }

    func stop() { Self.calls.append("stop") }
    func reset() { Self.calls.append("reset") }
}

final class NativeTextRunnerTests: XCTestCase {
    override func setUp() {
        Scripted.calls = []
        StubTextPrograms.open = { _ in Scripted() }
    }

    override func tearDown() {
        StubTextPrograms.open = nil
    }

    private func runner() -> any PocketCore.TextRunner {
        nativeTextRunner(
            program: URL(fileURLWithPath: "/model.pte"), tokenizer: URL(fileURLWithPath: "/tokenizer.model"), numBos: 1)
    }

    func testTheFirstTextAloneHasABeginOfText() throws {
        let runner = runner()
        try runner.load()
        var pieces: [[UInt8]] = []
        XCTAssertNil(try runner.generate("a", first: true, maxNewTokens: 2, temperature: 0) { pieces.append($0) })
        _ = try runner.generate("b", first: false, maxNewTokens: 1, temperature: 1) { pieces.append($0) }
        XCTAssertEqual(pieces, ["t0", "t1", "t0"].map { Array($0.utf8) })
        XCTAssertEqual(Scripted.calls, ["generate a bos 1 new 2", "generate b bos 0 new 1"])
    }

    func testAPrefilledTextIsWrittenBeforeTheNextOneAndItsTokenDropped() throws {
        let runner = runner()
        try runner.load()
        try runner.prefill("a", first: true)
        try runner.prefill("b", first: false)
        var pieces = 0
        _ = try runner.generate("c", first: false, maxNewTokens: 3, temperature: 0) { _ in pieces += 1 }
        XCTAssertEqual(Scripted.calls, ["generate a bos 1 new 1", "generate b bos 0 new 1", "generate c bos 0 new 3"])
        XCTAssertEqual(pieces, 3)
    }

    func testACallWithoutATextGoesOnFromThePrefilledOne() throws {
        let runner = runner()
        try runner.load()
        try runner.prefill("a", first: true)
        var pieces = 0
        _ = try runner.generate("", first: false, maxNewTokens: 3, temperature: 0) { _ in pieces += 1 }
        XCTAssertEqual(Scripted.calls, ["generate a bos 1 new 3"])
        XCTAssertEqual(pieces, 3)
    }

    func testAResetForgetsWhatWaits() throws {
        let runner = runner()
        try runner.load()
        try runner.prefill("a", first: true)
        try runner.reset()
        _ = try runner.generate("b", first: true, maxNewTokens: 1, temperature: 0) { _ in }
        XCTAssertEqual(Scripted.calls, ["reset", "generate b bos 1 new 1"])
    }

    func testStopAndResetReachTheRunner() throws {
        let runner = runner()
        runner.stop()
        try runner.load()
        runner.stop()
        try runner.reset()
        runner.close()
        runner.stop()
        XCTAssertEqual(Scripted.calls, ["stop", "reset"])
    }

    func testErrorsKeepTheirCode() throws {
        let runner = runner()
        XCTAssertThrowsError(try runner.generate("a", first: true, maxNewTokens: 1, temperature: 0) { _ in }) {
            XCTAssertEqual(Refusal($0).key, .engineInvalidState)
        }
        try runner.load()
        XCTAssertThrowsError(try runner.generate("fail", first: true, maxNewTokens: 1, temperature: 0) { _ in }) {
            XCTAssertEqual(Refusal($0).key, .engineInternal)
        }
    }
}
