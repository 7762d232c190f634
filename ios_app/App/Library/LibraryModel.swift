// The packages on the device and what is being brought in. All work runs beside the screen, one piece at a time each.
import Foundation
import Observation
import PocketCore

/// A download or installation that the user sees.
struct Work: Identifiable {
    enum Step: Equatable {
        case downloading(DownloadState)
        case installing(InstallState)
    }

    let id: UUID
    let origin: Origin
    var step: Step

    /// Where it begins, so that it can be begun again.
    enum Origin: Equatable {
        case address(String)
        /// Chosen by the user: outside of the app's own folders, readable only while access is held.
        case chosen(URL)
        /// In the app's shared folder: moved, not copied.
        case waiting(URL)
    }

    var name: String {
        switch origin {
        case .address(let address): Self.name(of: address)
        case .chosen(let url), .waiting(let url): url.lastPathComponent
        }
    }

    /// What a file from an address is called.
    static func name(of address: String) -> String {
        let last = URL(string: address)?.lastPathComponent ?? ""
        return last.lowercased().hasSuffix(".zip") ? last : "package.zip"
    }

    /// Whether nothing more will happen by itself.
    var isOver: Bool {
        switch step {
        case .downloading(.refused), .installing(.refused), .installing(.installed): true
        default: false
        }
    }

    var canPause: Bool {
        switch step {
        case .downloading(.waiting), .downloading(.receiving): true
        default: false
        }
    }

    /// Whether the same may be tried again. A downloaded file whose installation was refused waits in the shared
    /// folder.
    var canResume: Bool {
        switch (origin, step) {
        case (_, .downloading(.paused)): true
        case (_, .downloading(.refused(let refusal))):
            refusal.key == .downloadServerError || refusal.key == .downloadNoSpace
        case (.chosen, .installing(.refused(let refusal))):
            [SentenceKey.noSpace, .installStopped, .storageFailed, .sourceUnreadable].contains { $0 == refusal.key }
        default: false
        }
    }
}

@MainActor @Observable
final class LibraryModel {
    private(set) var packages: [InstalledPackage] = []
    /// Packages in the shared folder that are not installed.
    private(set) var waiting: [URL] = []
    private(set) var work: [Work] = []
    /// Why the last thing asked for was not done.
    private(set) var refusal: Refusal?

    private let folders: Folders
    private let library: PackageLibrary
    private let importer: Importer
    private let pending: PendingDownloads
    private let device: Device
    private let log: LogStore
    @ObservationIgnored private var flags: [Work.ID: StopFlag] = [:]

    init(
        folders: Folders, library: PackageLibrary, importer: Importer, pending: PendingDownloads, device: Device,
        log: LogStore
    ) {
        self.folders = folders
        self.library = library
        self.importer = importer
        self.pending = pending
        self.device = device
        self.log = log
        library.cleanUp()
        for address in pending.addresses {
            let step = Work.Step.downloading(.paused(done: importer.received(address)))
            work.append(Work(id: UUID(), origin: .address(address), step: step))
        }
        refresh()
    }

    var isEmpty: Bool { packages.isEmpty && waiting.isEmpty && work.isEmpty }

    /// Whether something is being downloaded or installed.
    var isWorking: Bool { work.contains { !$0.isOver && !$0.canResume } }

    func package(_ id: PackageId) -> InstalledPackage? {
        packages.first { $0.id == id }
    }

    /// Against what iOS gives this app at most: other apps do not lessen it, and the open chat's model goes first.
    func verdict(_ package: InstalledPackage) -> MemoryVerdict {
        MemoryCheck.verdict(package.manifest, available: device.mostBytes, most: device.mostBytes)
    }

    /// Reads the disk again.
    func refresh() {
        packages = library.list()
        let busy = work.compactMap { item in
            if case .waiting(let url) = item.origin { url } else { nil }
        }
        waiting = folders.waiting().filter { !busy.contains($0) }
    }

    /// Removes a package and its chat; nothing may have it open.
    func remove(_ id: PackageId) {
        try? FileManager.default.removeItem(at: folders.chats.appendingPathComponent("\(id.short).json"))
        if let failed = library.remove(id) { refusal = failed } else { log.add("removed package \(id.short)") }
        refresh()
    }

    /// Tells what went wrong beside any one piece of work.
    func show(_ refusal: Refusal) {
        self.refusal = refusal
        log.add(refusal.text)
    }

    func forgetRefusal() {
        refusal = nil
    }
}

// Bringing packages in.
extension LibraryModel {
    /// What the file picker gave.
    func choose(_ result: Result<URL, any Error>) {
        switch result {
        case .success(let url): begin(.chosen(url))
        case .failure(let error): refusal = Refusal(error)
        }
    }

    /// A file or folder that another app or Finder opened with this one.
    func open(_ url: URL) {
        begin(folders.contains(url) ? .waiting(url) : .chosen(url))
    }

    func install(waiting url: URL) {
        begin(.waiting(url))
    }

    func download(_ address: String) {
        begin(.address(address))
    }

    func pause(_ work: Work) {
        flags[work.id]?.set()
    }

    func resume(_ work: Work) {
        self.work.removeAll { $0.id == work.id }
        begin(work.origin)
    }

    /// Ends a piece of work and forgets what was received; of one that is over takes the line away.
    func stop(_ work: Work) {
        self.work.removeAll { $0.id == work.id }
        if let flag = flags[work.id] { flag.set() } else { forget(work.origin) }
        refresh()
    }

    private func forget(_ origin: Work.Origin) {
        guard case .address(let address) = origin else { return }
        pending.remove(address)
        importer.forget(address)
    }

    /// What is under way already is not begun again.
    private func begin(_ origin: Work.Origin) {
        if work.contains(where: { $0.origin == origin && flags[$0.id] != nil }) { return }
        work.removeAll { $0.origin == origin }
        if case .address(let address) = origin { pending.add(address) }
        let step: Work.Step = if case .address = origin { .downloading(.waiting) } else { .installing(.checkingSpace) }
        let item = Work(id: UUID(), origin: origin, step: step)
        let flag = StopFlag()
        flags[item.id] = flag
        work.append(item)
        refresh()
        let importer = importer
        Task {
            for await step in importer.run(origin, flag: flag) { show(step, of: item.id) }
            flags[item.id] = nil
            let last = work.first { $0.id == item.id }
            if last == nil || last?.canResume == false { forget(origin) }
            refresh()
        }
    }

    private func show(_ step: Work.Step, of id: Work.ID) {
        guard let index = work.firstIndex(where: { $0.id == id }) else { return }
        work[index].step = step
        switch step {
        case .installing(.installed(let package)):
            log.add("installed package \(package.id.short)")
            work.remove(at: index)
        case .installing(.refused(let refusal)), .downloading(.refused(let refusal)):
            log.add("\(work[index].name): \(refusal.text)")
        default: break
        }
    }
}
