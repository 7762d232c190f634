// Runs one download or installation from beginning to end, away from the main thread.
import Foundation
import PocketCore
import UIKit

/// A wish to stop that any thread may set and read.
final class StopFlag: @unchecked Sendable {
    private let lock = NSLock()
    private var isRaised = false
    private var handlers: [@Sendable () -> Void] = []

    var isSet: Bool { lock.withLock { isRaised } }

    func set() {
        let called = lock.withLock {
            isRaised = true
            defer { handlers = [] }
            return handlers
        }
        for handler in called { handler() }
    }

    /// Called once when the flag is set, at once when it is.
    func onSet(_ handler: @escaping @Sendable () -> Void) {
        let isLate = lock.withLock {
            if !isRaised { handlers.append(handler) }
            return isRaised
        }
        if isLate { handler() }
    }
}

struct Importer: Sendable {
    let folders: Folders
    let platform: Platform
    let transport: @Sendable (StopFlag) -> any Transport

    /// The steps of a piece of work, the newest when several have come since the last look; it ends with the work.
    func run(_ origin: Work.Origin, flag: StopFlag) -> AsyncStream<Work.Step> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let thread = Thread {
                perform(origin, flag: flag) { continuation.yield($0) }
                continuation.finish()
            }
            thread.name = "import"
            thread.start()
        }
    }

    /// Removes what was received from an address.
    func forget(_ address: String) {
        download(StopFlag()).discard(address)
    }

    /// Bytes that were received from an address before.
    func received(_ address: String) -> Int64 {
        download(StopFlag()).received(address)
    }

    private func perform(_ origin: Work.Origin, flag: StopFlag, onStep: @escaping @Sendable (Work.Step) -> Void) {
        switch origin {
        case .address(let address):
            let end = download(flag).run(
                address, isCancelled: { flag.isSet }, onState: { onStep(.downloading($0)) })
            guard case .finished(let file) = end else { return }
            do {
                perform(.waiting(try folders.share(file, as: Work.name(of: address))), flag: flag, onStep: onStep)
            } catch {
                onStep(.downloading(.refused(Refusal(error))))
            }
        case .waiting(let url):
            let isFolder = url.isFolder
            let end = install(isFolder ? .folder(url, isMovable: true) : .zip(url), flag, onStep)
            guard case .installed(let package) = end else { return }
            if isFolder { folders.clear(url, of: package) } else { try? FileManager.default.removeItem(at: url) }
        case .chosen(let url):
            let isOpen = url.startAccessingSecurityScopedResource()
            defer { if isOpen { url.stopAccessingSecurityScopedResource() } }
            let refusal = reading(url) { there in
                install(there.isFolder ? .folder(there, isMovable: false) : .zip(there), flag, onStep)
            }
            if let refusal { onStep(.installing(.refused(refusal))) }
        }
    }

    private func download(_ flag: StopFlag) -> Download {
        Download(transport: transport(flag), folder: folders.downloads, freeBytes: { folders.freeBytes() })
    }

    @discardableResult
    private func install(
        _ source: PackageSource, _ flag: StopFlag, _ onStep: @escaping @Sendable (Work.Step) -> Void
    ) -> InstallState {
        Installer(store: folders, platform: platform)
            .install(source, isCancelled: { flag.isSet }, onState: { onStep(.installing($0)) })
    }

    /// Asks the file's provider for it first: a file in iCloud may not be on the device yet. Gives why that failed.
    private func reading(_ url: URL, _ body: (URL) -> Void) -> Refusal? {
        var failure: NSError?
        NSFileCoordinator().coordinate(readingItemAt: url, options: [], error: &failure, byAccessor: body)
        return failure.map {
            Refusal(.sourceUnreadable, ["name": url.lastPathComponent, "reason": $0.localizedDescription])
        }
    }
}

extension URL {
    /// Asked of the disk.
    var isFolder: Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }
}
