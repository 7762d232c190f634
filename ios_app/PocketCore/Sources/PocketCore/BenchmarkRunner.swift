// Makes the runs of a benchmark's plan.
import Foundation

/// Where a benchmark stands.
public enum BenchmarkState: Equatable, Sendable {
    case loading
    /// Runs so far.
    case running(done: Int, total: Int)
    /// The note is a sentence where it was stopped before its end, else "".
    case ended(BenchmarkReport, note: String)
    case failed(Refusal)
}

/// What the system says of this app while it runs.
public protocol DeviceProbe: Sendable {
    /// That the app takes; nil where the system does not say.
    func memoryBytes() -> Int64?
    /// "nominal", "fair", "serious" or "critical".
    func thermal() -> String
}

/// Loads a package by itself; no other model should be in memory. Runs on the thread that calls it.
public final class Benchmark {
    private let factory: EngineFactory
    private let probe: any DeviceProbe
    private let clock: () -> Double

    /// - Parameter clock: seconds; replaced in tests.
    public init(
        factory: @escaping EngineFactory, probe: any DeviceProbe, clock: @escaping () -> Double = Session.uptime
    ) {
        self.factory = factory
        self.probe = probe
        self.clock = clock
    }

    /// - Parameters:
    ///   - isCancelled: asked after each token.
    ///   - onState: told each state, also the last.
    public func run(
        _ package: InstalledPackage, isCancelled: () -> Bool = { false }, onState: (BenchmarkState) -> Void
    ) -> BenchmarkState {
        onState(.loading)
        let last: BenchmarkState
        do {
            let engine = try factory(package)
            defer { engine.close() }
            try engine.load()
            engine.temperature = 0
            last = try run(engine, package, isCancelled, onState)
        } catch {
            last = .failed(Refusal(error, otherwise: .engineFailed))
        }
        onState(last)
        return last
    }

    private func run(
        _ engine: any LlmEngine, _ package: InstalledPackage, _ isCancelled: () -> Bool,
        _ onState: (BenchmarkState) -> Void
    ) throws -> BenchmarkState {
        let plan = BenchmarkPlan(package.manifest.context)
        var runs: [BenchmarkRun] = []
        for planned in plan.runs {
            onState(.running(done: runs.count, total: plan.runs.count))
            if isCancelled() { break }
            try engine.reset()
            let run = try measure(engine, package.manifest, planned, plan.newTokens, isCancelled)
            if isCancelled() { break }  // a run that was cut measures nothing
            runs.append(run)
        }
        let report = BenchmarkReport(package: package, newTokens: plan.newTokens, runs: runs)
        if runs.count == plan.runs.count { return .ended(report, note: "") }
        let places = ["done": String(runs.count), "total": String(plan.runs.count)]
        return .ended(report, note: Sentences.text(.benchmarkStopped, places))
    }

    private func measure(
        _ engine: any LlmEngine, _ manifest: Manifest, _ planned: BenchmarkPlan.Run, _ newTokens: Int,
        _ isCancelled: () -> Bool
    ) throws -> BenchmarkRun {
        let start = clock()
        var (first, last, count): (Double?, Double, Int) = (nil, start, 0)
        func token() {
            last = clock()
            if first == nil { first = last }
            count += 1
            if isCancelled() { engine.stop() }
        }
        if let engine = engine as? any IdEngine {
            try engine.generate(Self.ids(manifest, planned.promptTokens), maxNewTokens: newTokens) { _ in token() }
        } else {
            let text = try Self.text(manifest, planned.promptTokens, engine)
            try engine.stream(text, first: true, maxNewTokens: newTokens) { _ in token() }
        }
        let decodeS = last - (first ?? last)
        let own = Statistics.ofReply(
            Reply(
                text: "", end: .length, promptTokens: planned.promptTokens, newTokens: count,
                timeToFirstTokenS: first.map { $0 - start },
                decodeTokensPerS: count > 1 && decodeS > 0 ? Double(count - 1) / decodeS : nil))
        let figures = engine.lastStatistics.flatMap(Statistics.ofReport) ?? own
        return BenchmarkRun(
            promptTokens: planned.promptTokens, newTokens: figures.newTokens, isWarmUp: planned.isWarmUp,
            timeToFirstTokenS: figures.timeToFirstTokenS, prefillTokensPerS: figures.prefillTokensPerS,
            decodeTokensPerS: figures.decodeTokensPerS, memoryBytes: probe.memoryBytes(), thermal: probe.thermal())
    }

    /// The golden prompt's ids again and again: text that the model knows, exactly so many.
    static func ids(_ manifest: Manifest, _ count: Int) -> [Int] {
        let ids = manifest.golden.promptIds
        return (0..<count).map { ids[$0 % ids.count] }
    }

    /// For a runner of text: the golden prompt's words again and again, as many as give so many tokens; where it does
    /// not count before it runs, by the golden prompt's tokens a word.
    static func text(_ manifest: Manifest, _ count: Int, _ engine: any LlmEngine) throws -> String {
        let prompt = Array(manifest.golden.prompt.utf8).dropFirst(manifest.tokenizer.bosText.utf8.count)
        let words = String(decoding: prompt, as: UTF8.self).split(separator: " ")
        if words.isEmpty { return manifest.golden.prompt }
        let perWord = max(1, Double(manifest.golden.promptIds.count) / Double(words.count))
        var number = max(1, Int(Double(count) / perWord))
        func text() -> String { (0..<number).map { String(words[$0 % words.count]) }.joined(separator: " ") }
        if engine.countIsExact {
            while number < count, try engine.count(text(), first: true) < count { number += 1 }
            while number > 1, try engine.count(text(), first: true) > count { number -= 1 }
        }
        return text()
    }
}
