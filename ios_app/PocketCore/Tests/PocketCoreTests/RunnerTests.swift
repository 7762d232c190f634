// The CoreML loop and the runner of `forward` over a module that writes down what it is given.
import XCTest

@testable import PocketCore

/// Gives logits that point to the id after the last one, and keys and values that hold their token's position.
private final class RecordingModule: ModuleLike {
    private let manifest: Manifest
    private(set) var calls: [(method: String, inputs: [String: TensorBuffer])] = []
    private(set) var loaded: [String] = []
    var failure: RunnerFailure?

    init(_ manifest: Manifest) {
        self.manifest = manifest
    }

    func load(methods: [String]) { loaded = methods }
    func close() { loaded = [] }

    func execute(_ method: String, _ inputs: [TensorBuffer]) throws -> [TensorBuffer] {
        if let failure { throw failure }
        guard let specs = manifest.method(method) else { throw RunnerFailure(code: 0x20, detail: method) }
        let named = Dictionary(uniqueKeysWithValues: zip(specs.inputs.map(\.name), inputs))
        calls.append((method, named))
        let tokens = named["tokens"]?.ints ?? []
        let last = named["last"]?.doubles().firstIndex(of: 1) ?? tokens.count - 1
        return try specs.outputs.map { spec in
            let output = TensorBuffer(spec.type, spec.shape)
            var values = [Double](repeating: 0, count: output.count)
            if spec.name == "logits" {
                values[(tokens[last] + 1) % output.count] = 1
            } else {
                let (length, width) = (spec.shape[2], spec.shape[3])
                for i in values.indices { values[i] = Double(tokens[i / width % length]) }
            }
            try output.fillAny(values)
            return output
        }
    }
}

extension TensorBuffer {
    fileprivate var ints: [Int] {
        type == .int64 ? bytes.bindMemory(to: Int64.self).map(Int.init) : bytes.bindMemory(to: Int32.self).map(Int.init)
    }

    fileprivate func fillAny(_ values: [Double]) throws {
        if type == .float16 { return try fillHalf(values) }
        let floats = bytes.bindMemory(to: Float.self)
        for (i, value) in values.enumerated() { floats[i] = Float(value) }
    }
}

final class RunnerTests: XCTestCase {
    /// 3 layers: two local ones of 16 slots, a global one of 64; chunks of 8.
    func testTheCachesAreWrittenAfterEachCallAndWrapAround() throws {
        let manifest = try manifest("static-kv")
        let module = RecordingModule(manifest)
        let runner = try StaticRunner(module: module, manifest: manifest)
        try runner.load()
        XCTAssertEqual(module.loaded.sorted(), ["forward", "prefill"])
        let ids = Array(10..<30)
        let logits = try XCTUnwrap(runner.logits(ids, position: 0, isStopped: { false }))
        XCTAssertEqual(logits.firstIndex(of: 1), 30)
        XCTAssertEqual(module.calls.map(\.method), ["prefill", "prefill", "prefill"])
        _ = try runner.logits([30], position: 20, isStopped: { false })
        let call = try XCTUnwrap(module.calls.last)
        XCTAssertEqual(call.method, "forward")
        // Slot s of 16 holds the newest position p < 21 with p mod 16 = s, whose token is p + 10.
        let local = try XCTUnwrap(call.inputs["k_cache_0"]).doubles()
        let global = try XCTUnwrap(call.inputs["v_cache_2"]).doubles()
        for slot in 0..<16 {
            let newest = slot <= 4 ? slot + 16 : slot
            XCTAssertEqual(local[slot * 16], Double(newest + 10), "slot \(slot)")
            XCTAssertEqual(local[(16 + slot) * 16 + 15], Double(newest + 10), "the second head's slot \(slot)")
        }
        XCTAssertEqual(global[20 * 16], 30)
        XCTAssertEqual(global[21 * 16], 0, "never written: zeros")
    }

    func testOnlyRealTokensAreWrittenAndMasksArePassed() throws {
        let manifest = try manifest("static-kv")
        let module = RecordingModule(manifest)
        let runner = try StaticRunner(module: module, manifest: manifest)
        try runner.load()
        _ = try runner.logits([5, 6, 7], position: 0, isStopped: { false })
        let call = module.calls[0]
        XCTAssertEqual(call.inputs["tokens"]?.ints, [5, 6, 7, 0, 0, 0, 0, 0])
        XCTAssertEqual(call.inputs["last"]?.doubles(), [0, 0, 1, 0, 0, 0, 0, 0])
        let mask = try XCTUnwrap(call.inputs["mask_local"]).doubles()
        XCTAssertEqual(Array(mask[..<16]), [Double](repeating: -10_000, count: 16), "an empty cache is not seen")
        XCTAssertEqual(Array(mask[16..<24]), [0] + [Double](repeating: -10_000, count: 7))
        _ = try runner.logits([8], position: 3, isStopped: { false })
        let cache = try XCTUnwrap(module.calls[1].inputs["k_cache_1"]).doubles()
        XCTAssertEqual([0, 1, 2, 3].map { cache[$0 * 16] }, [5, 6, 7, 8], "written after the call")
    }

    func testAStopIsHeardBetweenTwoCalls() throws {
        let manifest = try manifest("static-kv")
        let module = RecordingModule(manifest)
        let runner = try StaticRunner(module: module, manifest: manifest)
        try runner.load()
        let found = try runner.logits(Array(0..<24), position: 0, isStopped: { module.calls.count == 2 })
        XCTAssertNil(found)
        XCTAssertEqual(module.calls.count, 2)
    }

    func testARunnerOfForwardCutsAPromptIntoChunks() throws {
        let manifest = try manifest("endless")
        let module = RecordingModule(manifest)
        let runner = try TokenRunner(module: module, manifest: manifest)
        try runner.load()
        let logits = try XCTUnwrap(runner.logits(Array(0..<20), position: 100, isStopped: { false }))
        XCTAssertEqual(logits.firstIndex(of: 1), 20)
        XCTAssertEqual(module.calls.map { $0.inputs["tokens"]?.count }, [8, 8, 4])
        XCTAssertEqual(module.calls.map { $0.inputs["position"]?.ints }, [[100], [108], [116]])
        XCTAssertThrowsError(try runner.logits([96], position: 0, isStopped: { false }))
        XCTAssertThrowsError(try runner.logits([], position: 0, isStopped: { false }))
    }

    func testOtherPackagesAreRefused() throws {
        let (text, kv) = (try manifest("endless"), try manifest("static-kv"))
        XCTAssertThrowsError(try StaticRunner(module: RecordingModule(text), manifest: text))
        XCTAssertThrowsError(try TokenRunner(module: RecordingModule(kv), manifest: kv))
    }

    func testTheSelfTestAndTheBenchmarkRunOverIds() throws {
        let package = try package("static-kv")
        let factory: EngineFactory = { package in
            let module = RecordingModule(package.manifest)
            let runner = try StaticRunner(module: module, manifest: package.manifest)
            return TokenEngine(
                tokenizer: LetterTokenizer(), runner: runner, stopIds: package.manifest.tokenizer.stopIds)
        }
        var states: [SelfTestState] = []
        let verdict = SelfTest(factory: factory).run(package) { states.append($0) }
        // The prompt ends with id 41, so 42 comes where the golden id is 20.
        guard case .failed(.selfTestFailedIds, let text) = verdict else { return XCTFail("\(verdict)") }
        XCTAssertTrue(text.contains("step 1 gave id 42 in place of 20"))
        XCTAssertEqual(states.first, .loading)
        let ended = Benchmark(factory: factory, probe: Probe()).run(package) { _ in }
        guard case .ended(let report, let note) = ended else { return XCTFail("\(ended)") }
        XCTAssertEqual(note, "")
        XCTAssertEqual(report.runs.map(\.promptTokens), [16, 16, 16, 16])
        XCTAssertEqual(report.runs[1].memoryBytes, 5)
        let benchmark = Benchmark(factory: factory, probe: Probe())
        let stopped = benchmark.run(package, isCancelled: { true }, onState: { _ in })
        guard case .ended(_, let said) = stopped else { return XCTFail("\(stopped)") }
        XCTAssertEqual(said, Sentences.text(.benchmarkStopped, ["done": "0", "total": "4"]))
    }
}

private struct Probe: DeviceProbe {
    func memoryBytes() -> Int64? { 5 }
    func thermal() -> String { "nominal" }
}
