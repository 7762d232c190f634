// The app's parts put together, and what the system tells it passed on to them.
import Foundation
import Observation
import PocketCore
import SwiftUI
import UIKit

@MainActor @Observable
final class AppModel {
    /// The ExecuTorch release that this app is linked with; the project's package reference names the same.
    nonisolated static let runtime = "1.5.1"

    var path: [Route] = []
    let device: Device
    let log: LogStore
    let library: LibraryModel
    let chat: ChatModel
    let measures: MeasureModel

    @ObservationIgnored private let settings: SettingsStore
    @ObservationIgnored private let background = BackgroundTime()
    @ObservationIgnored private var observers: [any NSObjectProtocol] = []

    init(folders: Folders, transport: @escaping @Sendable (StopFlag) -> any Transport, defaults: UserDefaults) {
        let device = Device()
        let log = LogStore()
        let settings = SettingsStore(defaults: defaults)
        let platform = Platform(
            runnerKinds: Set(Manifest.RunnerKind.allCases.map(\.rawValue)), hasCoreMl: true, runtime: Self.runtime)
        let importer = Importer(folders: folders, platform: platform, transport: transport)
        let installed = PackageLibrary(store: folders)
        let progress = ProgressTarget()
        let marks = CompiledMarks(
            defaults: defaults, system: ProcessInfo.processInfo.operatingSystemVersionString)
        let engines = PhoneEngines(marks: marks, onProgress: progress.show)

        self.device = device
        self.log = log
        self.settings = settings
        let library = LibraryModel(
            folders: folders, library: installed, importer: importer, pending: PendingDownloads(defaults: defaults),
            device: device, log: log)
        self.library = library
        chat = ChatModel(
            library: installed, chats: folders.chats, factory: engines.make, settings: settings,
            onState: { log.add($0) },
            onNotice: { library.show($0) })
        measures = MeasureModel(factory: engines.make, chat: chat, device: device, log: log)
        progress.chat = chat
        log.listenToRuntime()
        followWork()
    }

    /// The app over its folders on this device.
    static func live() -> Result<AppModel, any Error> {
        Result { AppModel(folders: try .standard(), transport: UrlSessionTransport.init(flag:), defaults: .standard) }
    }

    /// Removes a package, its chat and its settings, after the chat was closed.
    func remove(_ id: PackageId) {
        path.removeAll()
        settings.forget(id)
        if chat.state.packageId == id { chat.send(.packageClosed) }
        let library = library
        chat.execute { onMain { library.remove(id) } }
    }

    func phaseChanged(to phase: ScenePhase) {
        switch phase {
        case .background:
            background.begin()
            chat.send(.wentToBackground)
            measures.stop()
            chat.execute { [weak self] in  // after the chat was saved
                onMain { [weak self] in self?.saved() }
            }
        case .active:
            background.end()
            chat.send(.cameToForeground)
            library.refresh()
        case .inactive: break
        }
    }

    /// A download or installation may use what is left of the seconds.
    private func saved() {
        if !library.isWorking { background.end() }
    }

    /// Shows a package's chat; what is being measured makes room for it.
    func openChat(_ id: PackageId) {
        measures.stop()
        chat.open(id)
    }

    /// Listens until the app ends.
    func watchSystem() {
        guard observers.isEmpty else { return }
        observe(UIApplication.didReceiveMemoryWarningNotification) { $0.memoryIsLow() }
        observe(ProcessInfo.thermalStateDidChangeNotification) { $0.heatChanged() }
        heatChanged()
    }

    private func observe(_ name: Notification.Name, _ body: @escaping @MainActor (AppModel) -> Void) {
        let observer = NotificationCenter.default.addObserver(forName: name, object: nil, queue: .main) {
            [weak self] _ in
            MainActor.assumeIsolated { if let self { body(self) } }
        }
        observers.append(observer)
    }

    /// Keeps the screen on while something works; iOS would put the app to sleep with it.
    private func followWork() {
        let isBusy = withObservationTracking {
            chat.state.isBusy || library.isWorking || measures.isRunning
        } onChange: { [weak self] in
            onMain { [weak self] in self?.followWork() }
        }
        UIApplication.shared.isIdleTimerDisabled = isBusy
    }

    private func memoryIsLow() {
        log.add("iOS warned that memory is low; \(Sentences.size(device.availableBytes())) are left")
        chat.send(.memoryLow)
        measures.stop()
    }

    private func heatChanged() {
        guard device.readHeat() == .critical else { return }
        log.add("the device is too hot")
        chat.send(.thermalCritical)
        measures.stop()
    }
}

/// Where loading is shown; set once the chat exists.
private final class ProgressTarget: @unchecked Sendable {  // `chat` is set and read on the main thread
    @MainActor weak var chat: ChatModel?

    func show(_ progress: LoadProgress) {
        onMain { self.chat?.show(progress) }
    }
}

/// The seconds that iOS gives an app on its way to the background, to end a reply and save the chat.
@MainActor
final class BackgroundTime {
    private var task = UIBackgroundTaskIdentifier.invalid

    func begin() {
        end()
        task = UIApplication.shared.beginBackgroundTask(withName: "end of a reply") { [weak self] in self?.end() }
    }

    func end() {
        guard task != .invalid else { return }
        UIApplication.shared.endBackgroundTask(task)
        task = .invalid
    }
}

extension ChatState {
    /// Whether the engine works or is being loaded.
    var isBusy: Bool {
        switch self {
        case .empty, .loadFailed, .idle, .unloaded: false
        case .loading, .prefilling, .replying, .cancelling, .restoring: true
        }
    }

    var packageId: PackageId? {
        switch self {
        case .empty: nil
        case .loading(let id), .loadFailed(let id, _): id
        case .idle, .prefilling, .replying, .cancelling, .restoring, .unloaded: chat?.packageId
        }
    }
}
