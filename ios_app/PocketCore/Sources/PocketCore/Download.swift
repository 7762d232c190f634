// Fetches a package by URL so that a broken connection costs only what was under way.
//
// Ranges and validators by RFC 9110: 13.1.5 (If-Range takes a strong ETag or a date), 14.4 (Content-Range), 15.5.17
// (416). What was received lies on disk beside the validator that its server gave.
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

/// One answer of a server, its body read block by block. Closed in any case.
public protocol TransportResponse: AnyObject {
    var status: Int { get }
    /// A header's value; names are compared without case.
    func header(_ name: String) -> String?
    /// The next bytes of the body, nil at its end; throws when the line breaks.
    func next() throws -> Data?
    func close()
}

/// Whatever can send a GET request and follows redirects; the only part of a download that knows a network.
public protocol Transport: Sendable {
    /// Throws when the server cannot be reached.
    func get(_ url: URL, headers: [String: String]) throws -> any TransportResponse
}

/// A download into one folder. Takes as long as its bytes; call it off the main thread.
public final class Download {
    /// Attempts in a row that brought nothing; then it is paused.
    static let mostFruitless = 3

    private let transport: any Transport
    private let folder: URL
    private let freeBytes: () -> Int64

    /// - Parameter freeBytes: bytes that may still be written to the folder.
    public init(transport: any Transport, folder: URL, freeBytes: @escaping () -> Int64) {
        self.transport = transport
        self.folder = folder
        self.freeBytes = freeBytes
    }

    /// Fetches a zip, or goes on where an earlier run ended.
    ///
    /// - Parameters:
    ///   - isCancelled: asked after each block of bytes.
    ///   - onState: told each state, also the last.
    /// - Returns: the last state: finished, paused or refused.
    public func run(
        _ url: String, isCancelled: @escaping () -> Bool = { false }, onState: @escaping (DownloadState) -> Void
    ) -> DownloadState {
        onState(.waiting)
        let last: DownloadState
        if let parsed = URL(string: url), parsed.scheme == "https", let host = parsed.host, !host.isEmpty {
            let partial = Partial(folder: folder, url: url)
            let run = DownloadRun(
                url: parsed, host: host, partial: partial, transport: transport, freeBytes: freeBytes,
                isCancelled: isCancelled, onState: onState)
            do {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                last = try run.run()
            } catch {
                last = .refused(Refusal(error))
            }
        } else {
            last = .refused(Refusal(.urlNotHttps, ["url": url]))
        }
        onState(last)
        return last
    }

    /// A name for the file of a URL: its last part where that is plain, for sentences that name the file.
    public static func fileName(_ url: String) -> String {
        let last = url.prefix { $0 != "?" && $0 != "#" }.split(separator: "/").last.map(String.init) ?? ""
        let isPlain = TextRule.path.holds(Array(last.utf8)) && last.utf8.count <= 100
        return isPlain && last.lowercased().hasSuffix(".zip") ? last : "package.zip"
    }

    /// Bytes of an earlier run of this URL.
    public func received(_ url: String) -> Int64 { Partial(folder: folder, url: url).count }

    /// Forgets what was received of a URL.
    public func discard(_ url: String) { Partial(folder: folder, url: url).discard() }

    /// What lies on disk of a URL.
    struct Partial {
        let file: URL
        let validatorFile: URL
        /// Where the whole file goes.
        let place: URL

        init(folder: URL, url: String) {
            let name = String(Sha256.hex(Array(url.utf8)).prefix(16))
            file = folder.appendingPathComponent("\(name).download")
            validatorFile = folder.appendingPathComponent("\(name).validator")
            place = folder.appendingPathComponent(Download.fileName(url))
        }

        var count: Int64 { Files.size(file) ?? 0 }

        var validator: String? { Files.read(validatorFile, most: 4096).map { String(decoding: $0, as: UTF8.self) } }

        func discard() {
            try? FileManager.default.removeItem(at: file)
            try? FileManager.default.removeItem(at: validatorFile)
        }
    }
}
