// What the runtime writes to its log. Release builds of ExecuTorch write nothing; `executorch_debug` does.
import ExecuTorch
import Foundation

/// Hears the runtime's log for the rest of the process. The runtime calls it on any of its threads.
final class RuntimeLog: NSObject, LogSink, Sendable {
    private let onLine: @Sendable (String) -> Void

    init(onLine: @escaping @Sendable (String) -> Void) {
        self.onLine = onLine
        super.init()
        Log.shared.add(sink: self)
    }

    func log(level: LogLevel, timestamp: TimeInterval, filename: String, line: UInt, message: String) {
        onLine("ExecuTorch: \(message) (\((filename as NSString).lastPathComponent):\(line))")
    }
}
