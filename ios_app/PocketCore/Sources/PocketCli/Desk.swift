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

/// What a desktop's system says of this process: nothing.
struct NoProbe: DeviceProbe {
    func memoryBytes() -> Int64? { nil }
    func thermal() -> String { "unknown" }
}

struct FolderStore: PackageStore {
    let folder: URL

    func freeBytes() -> Int64 {
        let values = try? FileManager.default.attributesOfFileSystem(forPath: folder.path)
        return (values?[.systemFreeSize] as? NSNumber)?.int64Value ?? 0
    }
}
