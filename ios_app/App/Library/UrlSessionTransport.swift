// A download's requests through URLSession. Used only for an address that the user gave.
import Foundation
import PocketCore

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// One session for one download, so that a wish to stop also ends a request that hangs.
final class UrlSessionTransport: Transport {
    /// Seconds without a byte after which the line counts as broken.
    static let patience = 30.0

    private let session: URLSession

    /// - Parameter flag: ends every request when it is set.
    init(flag: StopFlag) {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.timeoutIntervalForRequest = Self.patience
        configuration.httpShouldSetCookies = false
        configuration.urlCache = nil
        let session = URLSession(configuration: configuration, delegate: Router(), delegateQueue: nil)
        self.session = session
        flag.onSet { session.invalidateAndCancel() }
    }

    deinit { session.finishTasksAndInvalidate() }

    func get(_ url: URL, headers: [String: String]) throws -> any TransportResponse {
        var request = URLRequest(url: url)
        // A packed body would have another length than the one announced.
        request.setValue("identity", forHTTPHeaderField: "Accept-Encoding")
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        let task = session.dataTask(with: request)
        let response = UrlSessionResponse(task)
        (session.delegate as? Router)?.add(response, for: task)
        task.resume()
        try response.waitForHead()
        return response
    }
}

/// Hands the session's calls to the response that they belong to.
private final class Router: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private let lock = NSLock()
    private var responses: [Int: UrlSessionResponse] = [:]

    func add(_ response: UrlSessionResponse, for task: URLSessionTask) {
        lock.withLock { responses[task.taskIdentifier] = response }
    }

    private func response(_ task: URLSessionTask) -> UrlSessionResponse? {
        lock.withLock { responses[task.taskIdentifier] }
    }

    func urlSession(
        _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
    ) {
        self.response(dataTask)?.takeHead(response as? HTTPURLResponse)
        completionHandler(.allow)
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        response(dataTask)?.take(data)
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        let ended = lock.withLock { responses.removeValue(forKey: task.taskIdentifier) }
        ended?.end(error)
    }

    /// Follows no redirect that leaves https.
    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest, completionHandler: @escaping (URLRequest?) -> Void
    ) {
        let isSafe = request.url?.scheme == "https" || task.originalRequest?.url?.scheme == "http"
        completionHandler(isSafe ? request : nil)
    }
}

/// A response whose body waits in memory until it is read; the session is held up when too much waits.
private final class UrlSessionResponse: TransportResponse, @unchecked Sendable {
    static let mostWaiting = 8 << 20

    private enum End {
        case open
        case whole
        case broken(any Error)
    }

    private let task: URLSessionTask
    private let condition = NSCondition()
    private var head: HTTPURLResponse?
    private var blocks: [Data] = []
    private var waiting = 0
    private var end = End.open
    private var isClosed = false

    init(_ task: URLSessionTask) {
        self.task = task
    }

    var status: Int { condition.withLock { head?.statusCode ?? 0 } }

    func header(_ name: String) -> String? {
        condition.withLock { head?.value(forHTTPHeaderField: name) }
    }

    func waitForHead() throws {
        try condition.withLock {
            while head == nil, case .open = end { condition.wait() }
            if head != nil { return }  // a line that broke since then is told after the bytes that came
            if case .broken(let error) = end { throw error }
            throw URLError(.badServerResponse)
        }
    }

    func next() throws -> Data? {
        try condition.withLock {
            while blocks.isEmpty, case .open = end { condition.wait() }
            if !blocks.isEmpty {
                let block = blocks.removeFirst()
                waiting -= block.count
                condition.broadcast()
                return block
            }
            if case .broken(let error) = end { throw error }
            return nil
        }
    }

    func close() {
        change { isClosed = true }
        task.cancel()
    }

    func takeHead(_ response: HTTPURLResponse?) {
        change { head = response }
    }

    /// Blocks the session's queue while too much waits; a suspended task would be given bytes twice on Linux.
    func take(_ data: Data) {
        change {
            while waiting > Self.mostWaiting, !isClosed { condition.wait() }
            blocks.append(data)
            waiting += data.count
        }
    }

    func end(_ error: (any Error)?) {
        change { end = error.map(End.broken) ?? .whole }
    }

    private func change(_ body: () -> Void) {
        condition.withLock {
            body()
            condition.broadcast()
        }
    }
}
