// An engine in a process of its own: JSON lines over pipes (tests/apps/engine_process.py).
import Foundation
import PocketCore

/// Reads lines.
final class LineReader {
    private let handle: FileHandle
    private var waiting = Data()

    init(_ handle: FileHandle) {
        self.handle = handle
    }

    /// The next line, nil at the end.
    func next() -> [UInt8]? {
        while true {
            if let end = waiting.firstIndex(of: 0x0A) {
                let line = Array(waiting[waiting.startIndex..<end])
                waiting = Data(waiting[(end + 1)...])
                return line
            }
            let block = handle.availableData
            if block.isEmpty { return nil }
            waiting += block
        }
    }
}

final class EngineProcess: @unchecked Sendable {
    private let command: [String]
    private let lock = NSLock()
    private var process: Process?
    private var input: FileHandle?
    private var output: LineReader?

    /// - Parameter command: without the kind and the package's folder.
    init(_ command: [String], kind: String, package: URL) {
        self.command = command + ["--kind", kind, package.path]
    }

    func start() throws {
        guard let program = command.first else { throw Misuse(text: "no command for the engine was given after --") }
        let process = Process()
        let (given, taken) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = Array(command.dropFirst())
        process.standardInput = given
        process.standardOutput = taken
        try process.run()
        lock.withLock {
            self.process = process
            input = given.fileHandleForWriting
        }
        output = LineReader(taken.fileHandleForReading)
    }

    func write(_ members: KeyValuePairs<String, JsonValue>) throws {
        let line = Wire.line(.object(members.map { JsonEntry($0.key, $0.value) }))
        try lock.withLock { try input?.write(contentsOf: Data(line.utf8)) }
    }

    /// The next answer.
    ///
    /// - Throws: `RunnerFailure`: the process says so, or it has ended.
    func read() throws -> JsonValue {
        guard let line = output?.next() else { throw RunnerFailure(code: nil, detail: "the engine's process ended") }
        let answer = try Json.read(line)
        if let error = answer["error"]?.text { throw RunnerFailure(code: answer["code"]?.int, detail: error) }
        return answer
    }

    @discardableResult
    func ask(_ members: KeyValuePairs<String, JsonValue>) throws -> JsonValue {
        try write(members)
        return try read()
    }

    func close() {
        try? write(["op": .string("quit")])
        let running = lock.withLock {
            let running = process
            (process, input) = (nil, nil)
            return running
        }
        running?.waitUntilExit()
        output = nil
    }
}

/// ExecuTorch's text runner in a process.
final class ProcessTextRunner: TextRunner {
    private let process: EngineProcess

    init(_ process: EngineProcess) {
        self.process = process
    }

    func load() throws {
        try process.start()
        try process.ask(["op": .string("load")])
    }

    func count(_ text: String, _ first: Bool) throws -> Int {
        let answer = try process.ask(["op": .string("count"), "text": .string(text), "first": .bool(first)])
        return answer["count"]?.int ?? 0
    }

    func prefill(_ text: String, first: Bool) throws {
        try process.ask(["op": .string("prefill"), "text": .string(text), "first": .bool(first)])
    }

    func generate(
        _ text: String, first: Bool, maxNewTokens: Int, temperature: Double, onPiece: ([UInt8]) -> Void
    ) throws -> String? {
        var answer = try process.ask([
            "op": .string("generate"), "text": .string(text), "first": .bool(first),
            "max_new_tokens": .integer(Int64(maxNewTokens)), "temperature": .double(temperature),
            "lockstep": .bool(true),
        ])
        while let piece = answer["piece_base64"]?.text {
            onPiece(Array(Data(base64Encoded: piece) ?? Data()))
            answer = try process.ask(["op": .string("go")])
        }
        return answer["stats"].flatMap { $0 == .null ? nil : Json.write($0) }
    }

    func stop() { try? process.write(["op": .string("stop")]) }

    func reset() throws { try process.ask(["op": .string("reset")]) }

    func close() { process.close() }
}

/// A program's methods in a process.
final class ProcessModule: ModuleLike {
    private let process: EngineProcess

    init(_ process: EngineProcess) {
        self.process = process
    }

    func load(methods: [String]) throws {
        try process.start()
        for method in methods { try process.ask(["op": .string("load"), "method": .string(method)]) }
    }

    func execute(_ method: String, _ inputs: [TensorBuffer]) throws -> [TensorBuffer] {
        let spelled = inputs.map { tensor -> JsonValue in
            .object([
                JsonEntry("dtype", .string(tensor.type.rawValue)),
                JsonEntry("shape", .array(tensor.shape.map { .integer(Int64($0)) })),
                JsonEntry("base64", .string(Data(tensor.bytes).base64EncodedString())),
            ])
        }
        let answer = try process.ask([
            "op": .string("execute"), "method": .string(method), "inputs": .array(spelled),
        ])
        return try (answer["outputs"]?.items ?? []).map { output in
            guard let type = output["dtype"]?.text.flatMap(Manifest.TensorType.init(rawValue:)),
                let data = output["base64"]?.text.flatMap({ Data(base64Encoded: $0) })
            else { throw RunnerFailure(code: nil, detail: "the engine's process gave no tensor") }
            let tensor = TensorBuffer(type, (output["shape"]?.items ?? []).compactMap(\.int))
            tensor.bytes.copyBytes(from: data)
            return tensor
        }
    }

    func close() { process.close() }
}
