// Requests through URLSession against a server of the test's own (tests/apps/test_ios_app.py).
import Foundation
import PocketCore
import XCTest

@testable import PocketLM

final class TransportTests: XCTestCase {
    private func server() throws -> URL {
        let address = ProcessInfo.processInfo.environment["POCKETLM_SERVER"]
        return try XCTUnwrap(URL(string: try XCTUnwrap(address, "tests/apps/test_ios_app.py gives the server")))
    }

    override func setUpWithError() throws {
        try XCTSkipIf(
            ProcessInfo.processInfo.environment["POCKETLM_SERVER"] == nil, "run by tests/apps/test_ios_app.py")
    }

    private func body(_ response: any TransportResponse) throws -> Data {
        var body = Data()
        while let block = try response.next() { body.append(block) }
        return body
    }

    func testAnAnswerHasStatusHeadersAndBody() throws {
        let transport = UrlSessionTransport(flag: StopFlag())
        let answer = try transport.get(try server().appendingPathComponent("file"), headers: [:])
        defer { answer.close() }
        XCTAssertEqual(answer.status, 200)
        XCTAssertEqual(answer.header("etag"), "\"one\"")
        let block = Data(0..<251)
        var expected = Data()
        while expected.count < 40_000_000 { expected.append(block) }
        XCTAssertEqual(try body(answer), expected.prefix(40_000_000))
    }

    func testAnAnswerThatNobodyReadsCanBeClosed() throws {
        let flag = StopFlag()
        let transport = UrlSessionTransport(flag: flag)
        let answer = try transport.get(try server().appendingPathComponent("file"), headers: [:])
        _ = try answer.next()
        Thread.sleep(forTimeInterval: 0.3)  // so that too much waits
        answer.close()
        let next = try transport.get(try server().appendingPathComponent("missing"), headers: [:])
        XCTAssertEqual(next.status, 404)
        flag.set()
    }

    func testHeadersOfTheRequestArrive() throws {
        let transport = UrlSessionTransport(flag: StopFlag())
        let headers = ["Range": "bytes=5-", "If-Range": "\"one\""]
        let answer = try transport.get(try server().appendingPathComponent("echo"), headers: headers)
        XCTAssertEqual(String(decoding: try body(answer), as: UTF8.self), "bytes=5- \"one\" identity")
    }

    func testAStatusIsNoError() throws {
        let transport = UrlSessionTransport(flag: StopFlag())
        let answer = try transport.get(try server().appendingPathComponent("missing"), headers: [:])
        XCTAssertEqual(answer.status, 404)
    }

    func testABodyThatEndsEarlyIsABrokenLine() throws {
        let transport = UrlSessionTransport(flag: StopFlag())
        let answer = try transport.get(try server().appendingPathComponent("short"), headers: [:])
        XCTAssertEqual(answer.header("Content-Length"), "1000")
        Thread.sleep(forTimeInterval: 0.2)  // so that the line has broken before anything is read
        XCTAssertEqual(try answer.next().map { String(decoding: $0, as: UTF8.self) }, "a few bytes")
        XCTAssertThrowsError(try body(answer))
    }

    func testNobodyThereIsAnError() throws {
        let transport = UrlSessionTransport(flag: StopFlag())
        XCTAssertThrowsError(try transport.get(try XCTUnwrap(URL(string: "http://127.0.0.1:9/file")), headers: [:]))
    }

    func testAFlagEndsARequestThatHangs() throws {
        let flag = StopFlag()
        let transport = UrlSessionTransport(flag: flag)
        let answer = try transport.get(try server().appendingPathComponent("hang"), headers: [:])
        let begin = Date()
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.2) { flag.set() }
        XCTAssertThrowsError(try body(answer))
        XCTAssertLessThan(Date().timeIntervalSince(begin), 5)
    }
}
