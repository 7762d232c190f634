// Downloads over scripted answers of a server, over the vectors.
import Foundation
import XCTest

@testable import PocketCore

private struct LineBroke: Error {}

private final class ScriptedAnswer: TransportResponse {
    let status: Int
    private let headers: [String: String]
    private var blocks: [String]
    private let breaks: Bool

    init(_ value: JsonValue, status: Int) throws {
        self.status = status
        var headers: [String: String] = [:]
        if case .object(let object) = try value.get("headers") {
            for entry in object.entries { headers[entry.key.lowercased()] = entry.value.text }
        }
        self.headers = headers
        blocks = try value.strings("body_hex")
        breaks = try value.bool("breaks")
    }

    func header(_ name: String) -> String? { headers[name.lowercased()] }

    func next() throws -> Data? {
        if blocks.isEmpty {
            if breaks { throw LineBroke() }
            return nil
        }
        return Data(bytes(blocks.removeFirst()))
    }

    func close() {}
}

private final class ScriptedTransport: Transport, @unchecked Sendable {
    private var exchanges: [JsonValue]
    private(set) var requests: [JsonValue] = []

    init(_ exchanges: [JsonValue]) {
        self.exchanges = exchanges
    }

    func get(_ url: URL, headers: [String: String]) throws -> any TransportResponse {
        requests.append(
            .record([
                "range": headers["Range"].map { .string($0) } ?? .null,
                "if_range": headers["If-Range"].map { .string($0) } ?? .null,
            ]))
        let exchange = exchanges.removeFirst()
        guard let status = exchange["status"]?.int else { throw LineBroke() }
        return try ScriptedAnswer(exchange, status: status)
    }
}

final class DownloadTests: XCTestCase {
    func testDownload() throws {
        try Vectors.each("download") { each in
            let folder = try scratch()
            defer { try? FileManager.default.removeItem(at: folder) }
            let url = try each.string("url")
            let partial = Download.Partial(folder: folder, url: url)
            let before = try each.get("before")
            let received = bytes(try before.string("received_hex"))
            if !received.isEmpty { try Data(received).write(to: partial.file) }
            if let validator = before["validator"]?.text {
                try Data(validator.utf8).write(to: partial.validatorFile)
            }
            let transport = ScriptedTransport(try each.list("exchanges"))
            let free = Int64(try each.int("free_bytes"))
            let most = each["cancel_after"]?.int
            let last = Download(transport: transport, folder: folder, freeBytes: { free }).run(
                url, isCancelled: { most.map { partial.count >= $0 } ?? false }, onState: { _ in })
            try check(last, each.get("expected"), partial, transport.requests)
        }
    }

    func testAFileIsNamedByItsAddress() {
        let names = [
            "https://example.org/a/nano.zip": "nano.zip", "https://example.org/nano.zip?x=1#y": "nano.zip",
            "https://example.org/": "package.zip", "https://example.org/..zip": "package.zip",
            "https://example.org/n%20o.zip": "package.zip", "https://example.org/download": "package.zip",
        ]
        for (url, name) in names { XCTAssertEqual(Download.fileName(url), name, url) }
    }

    private func check(
        _ last: DownloadState, _ expected: JsonValue, _ partial: Download.Partial, _ requests: [JsonValue]
    ) throws {
        try expect(.array(requests), expected["requests"])
        let final = try expected.get("final")
        var kept = partial.file
        switch last {
        case .finished(let file):
            try expect("finished", final["state"]?.text)
            kept = file
        case .paused(let done):
            try expect(.record(["state": .string("paused"), "done": .integer(done)]), final)
        case .refused(let refusal):
            try expect(refusal.text, final["text"]?.text)
            try expect(refusal.key?.rawValue ?? "", final["key"]?.text)
        default: throw Mismatch(description: "\(last)")
        }
        let wanted = bytes(try expected.string("received_hex"))
        XCTAssertEqual(Files.read(kept, most: 1 << 20) ?? [], wanted)
        if kept == partial.file { XCTAssertEqual(partial.validator, expected["validator"]?.text) }
    }
}
