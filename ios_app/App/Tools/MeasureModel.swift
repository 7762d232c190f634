// The self-test and the benchmark of a package: one at a time, on the engine's thread, the chat's model gone.
import Foundation
import Observation
import PocketCore

@MainActor @Observable
final class MeasureModel {
    private(set) var selfTest: (package: PackageId, state: SelfTestState)?
    private(set) var benchmark: (package: PackageId, state: BenchmarkState)?

    @ObservationIgnored private let factory: EngineFactory
    @ObservationIgnored private let chat: ChatModel
    @ObservationIgnored private let device: Device
    @ObservationIgnored private let log: LogStore
    @ObservationIgnored private var flag = StopFlag()

    init(factory: @escaping EngineFactory, chat: ChatModel, device: Device, log: LogStore) {
        self.factory = factory
        self.chat = chat
        self.device = device
        self.log = log
    }

    /// How far the loading of its model is.
    var loading: LoadProgress { chat.loading }

    /// Where the package's self-test stands; nil: it was not run since the app began.
    func selfTest(of id: PackageId) -> SelfTestState? {
        selfTest.flatMap { $0.package == id ? $0.state : nil }
    }

    func benchmark(of id: PackageId) -> BenchmarkState? {
        benchmark.flatMap { $0.package == id ? $0.state : nil }
    }

    func runSelfTest(_ package: InstalledPackage) {
        let (factory, flag, id) = (factory, renewed(), package.id)
        let show: @Sendable (SelfTestState) -> Void = { [weak self] state in
            onMain { [weak self] in self?.showSelfTest(state, of: id) }
        }
        show(.loading)
        chat.executeAlone {
            _ = SelfTest(factory: factory).run(package, isCancelled: { flag.isSet }, onState: show)
        }
    }

    func runBenchmark(_ package: InstalledPackage) {
        let (factory, flag, id) = (factory, renewed(), package.id)
        let probe = PhoneProbe(mostBytes: device.mostBytes)
        let show: @Sendable (BenchmarkState) -> Void = { [weak self] state in
            onMain { [weak self] in self?.showBenchmark(state, of: id) }
        }
        show(.loading)
        chat.executeAlone {
            _ = Benchmark(factory: factory, probe: probe).run(package, isCancelled: { flag.isSet }, onState: show)
        }
    }

    /// Ends what runs, soon.
    func stop() {
        flag.set()
    }

    /// Writes the figures as JSON, with what they were measured on, to a file that can be shared.
    func export(_ report: BenchmarkReport) throws -> URL {
        let about = BenchmarkAbout(
            appName: "PocketLM",
            appVersion: Bundle.main.object(forInfoDictionaryKey: "CFBundleShortVersionString") as? String ?? "",
            deviceModel: device.model, system: device.system,
            memoryBytes: Int64(ProcessInfo.processInfo.physicalMemory), threads: nil,
            runtime: "executorch \(AppModel.runtime)")
        let name = "benchmark-\(report.package.name)-\(report.package.manifest.target).json"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(name)
        try Data(Json.write(report.toJson(about)).utf8).write(to: file, options: .atomic)
        return file
    }

    /// Whether a measurement runs or is about to.
    var isRunning: Bool {
        switch selfTest?.state {
        case .loading, .running: return true
        case nil, .passed, .unsure, .failed, .stopped: break
        }
        switch benchmark?.state {
        case .loading, .running: return true
        case nil, .ended, .failed: return false
        }
    }

    private func renewed() -> StopFlag {
        flag.set()
        flag = StopFlag()
        return flag
    }

    private func showSelfTest(_ state: SelfTestState, of id: PackageId) {
        selfTest = (id, state)
        switch state {
        case .passed(_, let text), .unsure(_, let text), .failed(_, let text): log.add(text)
        case .loading, .running, .stopped: break
        }
    }

    private func showBenchmark(_ state: BenchmarkState, of id: PackageId) {
        benchmark = (id, state)
        if case .failed(let refusal) = state { log.add(refusal.text) }
    }
}

/// Calls on the main thread in the order of the calls.
func onMain(_ body: @escaping @MainActor @Sendable () -> Void) {
    DispatchQueue.main.async { MainActor.assumeIsolated(body) }
}
