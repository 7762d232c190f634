// What the program does: one answer a command, as an app's screens would ask (tests/apps/app_program.py).
import Foundation
import PocketCore

final class Commands {
    private let options: Options
    private let library: PackageLibrary
    private let installer: Installer
    private let watcher = Watcher()
    private let worker: ChatWorker
    private let factory: EngineFactory

    init(_ options: Options) {
        self.options = options
        let store = FolderStore(folder: options.packages)
        let library = PackageLibrary(store: store)
        let watcher = self.watcher
        let settings = options.settings
        self.library = library
        installer = Installer(store: store, platform: options.platform)
        factory = Self.factory(options)
        worker = ChatWorker(
            factory: factory, find: { library.find($0) }, historyFolder: options.chats, settings: { _ in settings },
            onState: { watcher.saw($0) },
            onNotice: { FileHandle.standardError.write(Data(($0.text + "\n").utf8)) })
    }

    /// The engine of a package, over a process.
    private static func factory(_ options: Options) -> EngineFactory {
        let (command, countsExactly, runsModule) = (options.command, options.countsExactly, options.runsModule)
        return { package in
            if package.manifest.runner.kind == .staticKv || runsModule {
                let process = EngineProcess(command, kind: "module", package: package.folder)
                return try Engines.make(package, module: ProcessModule(process))
            }
            let runner = ProcessTextRunner(EngineProcess(command, kind: "text-llm", package: package.folder))
            return RunnerEngine(
                runner: runner, manifest: package.manifest, exactCount: countsExactly ? runner.count : nil)
        }
    }

    /// The answer to a command; nil ends the program.
    func answer(_ command: JsonValue) throws -> JsonValue? {
        switch command["do"]?.text {
        case "install": return install(URL(fileURLWithPath: command["source"]?.text ?? ""))
        case "library":
            return Wire.record([
                "packages": .array(library.list().map(Wire.package)), "unfinished": Wire.texts(library.unfinished()),
            ])
        case "remove":
            if let refusal = library.remove(try package(command).id) { throw PocketError(refusal) }
            return Wire.record(["removed": .bool(true)])
        case "event":
            return event(try Wire.event(command["event"] ?? .null), stopAfter: command["stop_after"]?.int)
        case "self_test": return try selfTest(package(command))
        case "benchmark": return try benchmark(package(command), command["about"] ?? .null)
        case "memory": return try memory(package(command), command)
        case "quit":
            worker.close()
            return nil
        default: throw Misuse(text: "unknown command \(command["do"]?.text ?? "")")
        }
    }

    private func package(_ command: JsonValue) throws -> InstalledPackage {
        guard let package = library.find(PackageId(command["id"]?.text ?? "")) else {
            throw Misuse(text: "no such package is installed")
        }
        return package
    }

    private func install(_ source: URL) -> JsonValue {
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: source.path, isDirectory: &isFolder)
        var phases: [String] = []
        let from: PackageSource = isFolder.boolValue ? .folder(source, isMovable: false) : .zip(source)
        let last = installer.install(from) { state in
            let phase: String
            switch state {
            case .checkingSpace: phase = "checkingSpace"
            case .unpacking: phase = "unpacking"
            case .verifying: phase = "verifying"
            case .moving: phase = "moving"
            case .installed, .refused: return
            }
            if phases.last != phase { phases.append(phase) }
        }
        return Wire.record(["phases": Wire.texts(phases), "final": final(last)])
    }

    private func final(_ last: InstallState) -> JsonValue {
        switch last {
        case .installed(let package):
            return Wire.record([
                "state": .string("installed"), "id": .string(package.id.sha256), "folder": .string(package.id.short),
            ])
        case .refused(let refusal):
            return Wire.record([
                "state": .string("refused"), "key": refusal.key.map { .string($0.rawValue) } ?? .null,
                "text": .string(refusal.text),
            ])
        case .checkingSpace, .unpacking, .verifying, .moving: return .null
        }
    }

    private func event(_ event: ChatEvent, stopAfter: Int?) -> JsonValue {
        let worker = self.worker
        watcher.begin(stopAfter: stopAfter) { worker.send(.stopTapped) }
        worker.send(event)
        while true {
            let count = watcher.seen.count
            if worker.state.isAtRest { break }
            watcher.wait(after: count)
        }
        worker.flush()
        let seen = watcher.seen
        var kinds: [String] = []
        for kind in seen.map(Wire.kind) where kinds.last != kind { kinds.append(kind) }
        return Wire.record([
            "state": Wire.state(worker.state), "texts": Wire.texts(growth(seen)), "states": Wire.texts(kinds),
        ])
    }

    /// What each state added to the reply; the last of them by the messages at its end.
    private func growth(_ states: [ChatState]) -> [String] {
        var (texts, shown): ([String], String) = ([], "")
        func add(_ text: String) {
            guard text.utf8.count > shown.utf8.count, text.utf8.starts(with: shown.utf8) else { return }
            texts.append(String(decoding: text.utf8.dropFirst(shown.utf8.count), as: UTF8.self))
            shown = text
        }
        for state in states {
            if let running = state.running { add(running.soFar) }
        }
        return texts
    }

    private func selfTest(_ package: InstalledPackage) throws -> JsonValue {
        let verdict: (String, SentenceKey?, String)
        switch SelfTest(factory: factory).run(package, onState: { _ in }) {
        case .passed(let key, let text): verdict = ("passed", key, text)
        case .unsure(let key, let text): verdict = ("unsure", key, text)
        case .failed(let key, let text): verdict = ("failed", key, text)
        case .loading, .running, .stopped: throw Misuse(text: "the self-test has not ended")
        }
        return Wire.record([
            "verdict": .string(verdict.0), "key": verdict.1.map { .string($0.rawValue) } ?? .null,
            "text": .string(verdict.2),
        ])
    }

    private func benchmark(_ package: InstalledPackage, _ about: JsonValue) throws -> JsonValue {
        switch Benchmark(factory: factory, probe: LinuxProbe()).run(package, onState: { _ in }) {
        case .ended(let report, _): return report.toJson(Wire.about(about))
        case .failed(let refusal): throw PocketError(refusal)
        case .loading, .running: throw Misuse(text: "the benchmark has not ended")
        }
    }

    private func memory(_ package: InstalledPackage, _ command: JsonValue) throws -> JsonValue {
        let verdict = MemoryCheck.verdict(
            package.manifest, available: Int64(command["available_bytes"]?.int ?? 0),
            most: Int64(command["most_bytes"]?.int ?? 0))
        switch verdict {
        case .fits: return Wire.record(["verdict": .string("fits"), "text": .string("")])
        case .tight(let text): return Wire.record(["verdict": .string("tight"), "text": .string(text)])
        case .tooLarge(let text): return Wire.record(["verdict": .string("tooLarge"), "text": .string(text)])
        }
    }
}
