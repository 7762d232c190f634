// A program behind the stub `Module` that a Python process runs: ExecuTorch's for XNNPACK packages, the verifier's for
// Core ML ones (tests/apps/engine_process.py).
import ExecuTorch
import Foundation

/// What tests/apps/test_ios_app.py hands to these tests.
struct Flow: Decodable {
    /// A package's folder.
    let package: String
    /// Starts the engine's process; the kind and the package's folder follow.
    let command: [String]
    let questions: [String]
    /// What Python's chat answered.
    let replies: [String]
    /// Tokens of a reply.
    let budget: Int

    /// All that were given; empty when the tests run by themselves.
    static func all() throws -> [Flow] {
        guard let path = ProcessInfo.processInfo.environment["POCKETLM_FLOWS"] else { return [] }
        return try JSONDecoder().decode([Flow].self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }
}

final class ProcessProgram: StubProgram {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var unread = Data()

    init(_ command: [String], program: String) throws {
        let package = URL(fileURLWithPath: program).deletingLastPathComponent().path
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst()) + ["--kind", "module", package]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    func load(_ method: String) throws {
        _ = try ask(["op": "load", "method": method])
    }

    func execute(_ method: String, _ inputs: [Value]) throws -> [Value] {
        let tensors = inputs.compactMap(\.anyTensor).map { tensor -> [String: Any] in
            var data = Data()
            tensor.bytes { pointer, count, type in data = Data(bytes: pointer, count: count * size(ofDataType: type)) }
            return ["dtype": name(tensor.dataType), "shape": tensor.shape, "base64": data.base64EncodedString()]
        }
        let answer = try ask(["op": "execute", "method": method, "inputs": tensors])
        return try (answer["outputs"] as? [[String: Any]] ?? []).map { output in
            guard let dtype = output["dtype"] as? String, let shape = output["shape"] as? [Int],
                let base64 = output["base64"] as? String, let data = Data(base64Encoded: base64)
            else { throw stubError(code: 19) }
            return Value(AnyTensor(data: data, shape: shape, dataType: type(dtype)))
        }
    }

    private func ask(_ request: [String: Any]) throws -> [String: Any] {
        var line = try JSONSerialization.data(withJSONObject: request)
        line.append(0x0A)
        try input.fileHandleForWriting.write(contentsOf: line)
        let answer = try JSONSerialization.jsonObject(with: readLine()) as? [String: Any] ?? [:]
        if answer["error"] != nil { throw stubError(code: answer["code"] as? Int ?? 1) }
        return answer
    }

    private func readLine() throws -> Data {
        while true {
            if let end = unread.firstIndex(of: 0x0A) {
                defer { unread = Data(unread[unread.index(after: end)...]) }
                return Data(unread[..<end])
            }
            let block = output.fileHandleForReading.availableData
            if block.isEmpty { throw stubError(code: 1) }
            unread.append(block)
        }
    }

    private func name(_ type: DataType) -> String {
        switch type {
        case .half: "float16"
        case .float: "float32"
        case .int: "int32"
        default: "int64"
        }
    }

    private func type(_ name: String) -> DataType {
        switch name {
        case "float16": .half
        case "float32": .float
        case "int32": .int
        default: .long
        }
    }
}
