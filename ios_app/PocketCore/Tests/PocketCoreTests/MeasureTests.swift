// Memory, statistics, runtime errors, self-test, benchmark, SHA-256 and the tokenizer, over the vectors.
import Foundation
import XCTest

@testable import PocketCore

final class MeasureTests: XCTestCase {
    func testMemory() throws {
        try Vectors.each("memory") { each in
            let verdict = MemoryCheck.verdict(
                needed: Int64(try each.int("needed_bytes")), available: Int64(try each.int("available_bytes")),
                most: Int64(try each.int("most_bytes")))
            let (name, text): (String, String)
            switch verdict {
            case .fits: (name, text) = ("fits", "")
            case .tight(let sentence): (name, text) = ("tight", sentence)
            case .tooLarge(let sentence): (name, text) = ("tooLarge", sentence)
            }
            try expect(.record(["verdict": .string(name), "text": .string(text)]), each["expected"])
        }
    }

    func testStatistics() throws {
        try Vectors.each("statistics") { each in
            let found: Statistics?
            if try each.string("call") == "of_report" {
                found = Statistics.ofReport(try each.string("report"))
            } else {
                let reply = try each.get("reply")
                found = Statistics.ofReply(
                    Reply(
                        text: "", end: .stop, promptTokens: try reply.int("prompt_tokens"),
                        newTokens: try reply.int("new_tokens"),
                        timeToFirstTokenS: reply["time_to_first_token_s"]?.number,
                        decodeTokensPerS: reply["decode_tokens_per_s"]?.number))
            }
            try check(found, each.get("expected"))
        }
    }

    private func check(_ found: Statistics?, _ wanted: JsonValue) throws {
        guard let found else { return try expect(.null as JsonValue, wanted) }
        try expect(found.promptTokens, wanted["prompt_tokens"])
        try expect(found.newTokens, wanted["new_tokens"])
        let pairs = [
            (found.timeToFirstTokenS, "time_to_first_token_s"), (found.decodeTokensPerS, "decode_tokens_per_s"),
            (found.prefillTokensPerS, "prefill_tokens_per_s"),
        ]
        for (value, key) in pairs {
            let right = wanted[key]?.number
            if (value == nil) != (right == nil) || abs((value ?? 0) - (right ?? 0)) > 1e-12 * abs(right ?? 0) {
                throw Mismatch(description: "\(key): \(String(describing: value))")
            }
        }
    }

    func testEngineErrors() throws {
        try Vectors.each("engine_errors") { each in
            let refusal = EngineError.refusal(
                RunnerFailure(code: each["code"]?.int, detail: try each.string("detail")))
            try expect(
                .record(["key": .string(refusal.key?.rawValue ?? ""), "text": .string(refusal.text)]),
                each["expected"])
        }
    }

    func testSelfTest() throws {
        try Vectors.each("selftest") { each in
            let (golden, found) = (try each.get("golden"), try each.get("found"))
            let reply: GoldenReply =
                found["ids"] != nil
                ? .ids(try found.ints("ids")) : .pieces(try found.strings("pieces_hex").map { bytes($0) })
            let state = SelfTest.judge(
                compared: try golden.int("compared"), ids: try golden.ints("ids"), text: try golden.string("text"),
                reply)
            let (verdict, key, text): (String, SentenceKey?, String)
            switch state {
            case .passed(let name, let sentence): (verdict, key, text) = ("passed", name, sentence)
            case .unsure(let name, let sentence): (verdict, key, text) = ("unsure", name, sentence)
            case .failed(let name, let sentence): (verdict, key, text) = ("failed", name, sentence)
            default: throw Mismatch(description: "\(state)")
            }
            try expect(
                .record([
                    "verdict": .string(verdict), "key": .string(key?.rawValue ?? ""), "text": .string(text),
                ]), each["expected"])
        }
    }

    func testBenchmark() throws {
        try Vectors.each("benchmark") { each in
            if try each.string("call") == "plan" {
                let plan = BenchmarkPlan(try context(each.get("context")))
                let runs = plan.runs.map {
                    JsonValue.record([
                        "prompt_tokens": .number($0.promptTokens), "is_warm_up": .bool($0.isWarmUp),
                    ])
                }
                let found = JsonValue.record(["new_tokens": .number(plan.newTokens), "runs": .array(runs)])
                return try expect(found, each["expected"])
            }
            guard case .object(let about) = try each.get("about") else { throw Mismatch(description: "no about") }
            let runs = try each.list("runs").map(run)
            let found = BenchmarkReport.document(
                about.entries, newTokens: try each.int("new_tokens"), runs: runs)
            try expect(found, each["expected"])
        }
    }

    private func run(_ value: JsonValue) throws -> BenchmarkRun {
        BenchmarkRun(
            promptTokens: try value.int("prompt_tokens"), newTokens: try value.int("new_tokens"),
            isWarmUp: try value.bool("is_warm_up"), timeToFirstTokenS: value["time_to_first_token_s"]?.number,
            prefillTokensPerS: value["prefill_tokens_per_s"]?.number,
            decodeTokensPerS: value["decode_tokens_per_s"]?.number,
            memoryBytes: value["memory_bytes"]?.int.map(Int64.init), thermal: try value.string("thermal"))
    }

    func testSha256() throws {
        try Vectors.each("sha256") { each in
            let piece = bytes(try each.string("hex"))
            var left = Array([[UInt8]](repeating: piece, count: try each.int("times")).joined())[...]
            var sha = Sha256()
            for count in try each.ints("updates") {
                sha.update(Array(left.prefix(count)))
                left = left.dropFirst(count)
            }
            sha.update(Array(left))
            try expect(.record(["sha256": .string(sha.finish())]), each["expected"])
        }
    }

    func testTokens() throws {
        let document = try Vectors.document("tokens")
        let file = Vectors.root.appendingPathComponent(try document.string("file"))
        let facts = try document.get("tokenizer")
        let content = Array(try Data(contentsOf: file))
        let bpe = try Bpe(content, bosText: facts["bos_text"]?.text ?? "")
        try Vectors.each("tokens") { each in
            let ids = try bpe.encode(each.string("text"), first: each.bool("first"))
            let pieces = try ids.map { hex(try bpe.piece($0)) }
            try expect(.record(["ids": .numbers(ids), "pieces_hex": .texts(pieces)]), each["expected"])
        }
        var sha = Sha256()
        for id in 0..<(try facts.int("vocab_size")) { sha.update(try bpe.piece(id) + [0x0A]) }
        XCTAssertEqual(sha.finish(), try document.string("pieces_sha256"))
    }

    func testAPageWithoutASpaceIsEncodedInTime() throws {
        let file = Vectors.root.appendingPathComponent("assets/nano/tokenizer.json")
        let bpe = try Bpe(Array(Data(contentsOf: file)))
        let text = String(repeating: "the", count: 4000)
        let start = Session.uptime()
        let ids = try bpe.encode(text, first: false)
        XCTAssertLessThan(Session.uptime() - start, 10)
        XCTAssertEqual(try ids.flatMap { try bpe.piece($0) }, Array(text.utf8))
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
