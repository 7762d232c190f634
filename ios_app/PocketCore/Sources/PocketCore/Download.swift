// Fetches a package by URL so that a broken connection costs only what was under way.
import Foundation

/// Where a download stands; `done` and `total` are bytes, and a server may not say the total.
public enum DownloadState: Equatable, Sendable {
    case waiting
    case receiving(done: Int64, total: Int64?)
    /// Stopped by the user or the network; the next start goes on from here.
    case paused(done: Int64)
    case finished(URL)
    case refused(Refusal)
}
