// One run of a download: requests until the file is there, the user stops, or nothing comes any more.
import Foundation

final class DownloadRun {
    /// Bytes between two states that are told.
    private static let step: Int64 = 1 << 18

    private let url: URL
    private let host: String
    private let partial: Download.Partial
    private let transport: any Transport
    private let freeBytes: () -> Int64
    private let isCancelled: () -> Bool
    private let onState: (DownloadState) -> Void

    init(
        url: URL, host: String, partial: Download.Partial, transport: any Transport,
        freeBytes: @escaping () -> Int64, isCancelled: @escaping () -> Bool,
        onState: @escaping (DownloadState) -> Void
    ) {
        self.url = url
        self.host = host
        self.partial = partial
        self.transport = transport
        self.freeBytes = freeBytes
        self.isCancelled = isCancelled
        self.onState = onState
    }

    /// - Throws: what the file system says.
    func run() throws -> DownloadState {
        var fruitless = 0
        while fruitless < Download.mostFruitless {
            let before = partial.count
            if let last = try attempt() { return last }
            fruitless = partial.count > before ? 0 : fruitless + 1
        }
        return .paused(done: partial.count)
    }

    /// One request and its body; nil when another one is needed.
    private func attempt() throws -> DownloadState? {
        let validator = partial.validator
        if validator == nil { partial.discard() }
        let done = partial.count
        var headers: [String: String] = [:]
        if done > 0, let validator { headers = ["Range": "bytes=\(done)-", "If-Range": validator] }
        guard let answer = try? transport.get(url, headers: headers) else { return nil }
        defer { answer.close() }
        let total: Int64?
        switch answer.status {
        case 416 where done > 0:
            return try unsatisfied(answer, done)
        case 206 where done > 0:
            guard let part = Self.part(answer.header("Content-Range") ?? ""), part.start == done else {
                partial.discard()
                return nil
            }
            total = part.total
        case 200:
            try startAnew(answer)
            total = answer.header("Content-Length").flatMap(Self.whole)
        default:
            return .refused(refused(answer.status))
        }
        return try checkSpace(total) ?? body(answer, total)
    }

    private func unsatisfied(_ answer: any TransportResponse, _ done: Int64) throws -> DownloadState? {
        let said = answer.header("Content-Range") ?? ""
        if said.hasPrefix("bytes */"), Int64(said.dropFirst("bytes */".count)) == done { return try finished() }
        partial.discard()
        return nil
    }

    /// `bytes START-END/TOTAL`, where the total may be `*`.
    private static func part(_ header: String) -> (start: Int64, total: Int64?)? {
        guard header.hasPrefix("bytes ") else { return nil }
        let halves = header.dropFirst("bytes ".count).split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let start = whole(ends[0]), whole(ends[1]) != nil else { return nil }
        if halves[1] == "*" { return (start, nil) }
        return whole(halves[1]).map { (start, $0) }
    }

    /// Digits and nothing else.
    private static func whole(_ text: some StringProtocol) -> Int64? {
        text.utf8.allSatisfy(TextRule.isDigit) ? Int64(text) : nil
    }

    private func startAnew(_ answer: any TransportResponse) throws {
        partial.discard()
        let tag = answer.header("ETag").flatMap { $0.hasPrefix("W/") ? nil : $0 }
        if let validator = tag ?? answer.header("Last-Modified") {
            try Data(validator.utf8).write(to: partial.validatorFile, options: .atomic)
        }
    }

    private func refused(_ status: Int) -> Refusal {
        let said = ["host": host, "status": String(status)]
        switch status {
        case 401, 403: return Refusal(.downloadForbidden, said)
        case 404, 410: return Refusal(.downloadNotFound, said)
        case 429, 500...: return Refusal(.downloadServerError, said)
        default: return Refusal(.downloadRefused, said)
        }
    }

    private func checkSpace(_ total: Int64?) -> DownloadState? {
        guard let total else { return nil }
        let (needed, free) = (total - partial.count, freeBytes())
        if needed <= free { return nil }
        let sizes = [("needed", needed), ("free", free), ("missing", needed - free)]
        return .refused(
            Refusal(.downloadNoSpace, Dictionary(uniqueKeysWithValues: sizes.map { ($0, Sentences.size($1)) })))
    }

    private func body(_ answer: any TransportResponse, _ total: Int64?) throws -> DownloadState? {
        if Files.size(partial.file) == nil { try Data().write(to: partial.file) }
        let output = try FileHandle(forWritingTo: partial.file)
        defer { try? output.close() }
        var done = Int64(try output.seekToEnd())
        var head = Files.read(partial.file, most: 2) ?? []
        var shown = done
        onState(.receiving(done: done, total: total))
        while true {
            let block: Data?
            do {
                block = try answer.next()
            } catch {
                return nil  // the line broke; what came is kept
            }
            guard let block else { break }
            try output.write(contentsOf: block)
            done += Int64(block.count)
            head += block.prefix(max(0, 2 - head.count))
            if !Array("PK".utf8).starts(with: head) { return discarded(Refusal(.downloadNotAZip)) }
            if let total, done > total {
                return discarded(Refusal(.downloadTooLong, ["host": host, "wanted": String(total)]))
            }
            if done - shown >= Self.step || done == total {
                shown = done
                onState(.receiving(done: done, total: total))
            }
            if isCancelled() { return .paused(done: done) }
        }
        return total == nil || done == total ? try finished() : nil
    }

    private func discarded(_ refusal: Refusal) -> DownloadState {
        partial.discard()
        return .refused(refusal)
    }

    private func finished() throws -> DownloadState {
        try Files.rename(partial.file, to: partial.place)
        partial.discard()
        return .finished(partial.place)
    }
}
