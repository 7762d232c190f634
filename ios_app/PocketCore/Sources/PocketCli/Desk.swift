// What stands between the program's commands and the core: the state's history, and waiting for it to come to rest.
import Foundation
import PocketCore

/// Watches a chat's states from the worker's queue.
final class Watcher: @unchecked Sendable {
    private let changed = NSCondition()
    private var states: [ChatState] = []
    private var stopAfter: Int?
    private var stop: () -> Void = {}

    /// Forgets what was; from now on stop is called once when a reply has so many characters.
    func begin(stopAfter: Int?, stop: @escaping () -> Void) {
        changed.withLock {
            states = []
            self.stopAfter = stopAfter
            self.stop = stop
        }
    }

    func saw(_ state: ChatState) {
        changed.lock()
        states.append(state)
        var isDue = false
        if let count = stopAfter, let running = state.running, running.soFar.unicodeScalars.count >= count {
            isDue = true
            stopAfter = nil
        }
        changed.broadcast()
        changed.unlock()
        if isDue { stop() }
    }

    /// Waits until something was seen since `count` states were.
    func wait(after count: Int) {
        changed.lock()
        while states.count <= count { changed.wait() }
        changed.unlock()
    }

    var seen: [ChatState] { changed.withLock { states } }
}

extension ChatState {
    /// Whether nothing goes on by itself.
    var isAtRest: Bool {
        switch self {
        case .empty, .loadFailed, .idle, .unloaded: return true
        case .loading, .prefilling, .replying, .cancelling, .restoring: return false
        }
    }
}

/// What Linux says of this process; the engine is another one.
struct LinuxProbe: DeviceProbe {
    /// The second number of /proc/self/statm: pages in memory.
    func memoryBytes() -> Int64? {
        let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        let pages = text?.split(separator: " ").dropFirst().first.flatMap { Int64($0) }
        return pages.map { $0 * Int64(sysconf(Int32(_SC_PAGESIZE))) }
    }

    func thermal() -> String { "nominal" }
}

struct FolderStore: PackageStore {
    let folder: URL

    func freeBytes() -> Int64 {
        let values = try? FileManager.default.attributesOfFileSystem(forPath: folder.path)
        return (values?[.systemFreeSize] as? NSNumber)?.int64Value ?? 0
    }
}
