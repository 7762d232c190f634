/// The part of ExecuTorch's `Module` that the app uses. What runs a program is given by a test (`StubPrograms`).
///
/// Own code: only names and types come from the sources named beside each declaration,
/// read at commit cff6f4dd32e630945b7188512c1f2b4f102b05ad.

import Foundation

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchModule.h (ExecuTorchModuleLoadMode)
public enum ModuleLoadMode: Int, Sendable {
    case file = 0
    case mmap, mmapUseMlock, mmapUseMlockIgnoreErrors
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchModule.h (ExecuTorchModule)
public final class Module {
    private let filePath: String
    private var program: (any StubProgram)?

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchModule.h (initWithFilePath:loadMode:)
    public init(filePath: String, loadMode: ModuleLoadMode) {
        self.filePath = filePath
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchModule.h (loadMethod:error:)
    public func load(_ methodName: String) throws {
        try opened().load(methodName)
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchModule.h (unloadMethod:)
    @discardableResult
    public func unload(_ methodName: String) -> Bool {
        let was = program != nil
        program = nil
        return was
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Module.swift (execute(_:_:))
    public func execute(_ method: String, _ inputs: [ValueConvertible]) throws -> [Value] {
        try opened().execute(method, inputs.map { $0.asValue() })
    }

    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorch+Module.swift (execute(_:_:) -> Output)
    public func execute<Output: ValueSequenceConstructible>(
        _ method: String, _ inputs: [ValueConvertible]
    ) throws -> Output {
        try Output.from(opened().execute(method, inputs.map { $0.asValue() }))
    }

    private func opened() throws -> any StubProgram {
        if let program { return program }
        guard let open = StubPrograms.open else { throw stubError(code: 32) }
        let opened = try open(filePath)
        program = opened
        return opened
    }
}

/// No part of ExecuTorch: what a Linux test puts behind `Module`.
public protocol StubProgram {
    func load(_ method: String) throws
    func execute(_ method: String, _ inputs: [Value]) throws -> [Value]
}

/// No part of ExecuTorch: how a Linux test gives programs to `Module` and `TextRunner`.
public enum StubPrograms {
    /// No part of ExecuTorch.
    nonisolated(unsafe) public static var open: ((String) throws -> any StubProgram)?
}

/// No part of ExecuTorch: an error as the Objective-C classes throw it.
public func stubError(code: Int) -> NSError {
    NSError(domain: "org.pytorch.executorch.error", code: code)
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchLog.h (ExecuTorchLogLevel)
public enum LogLevel: Int, Sendable {
    case debug = 68
    case info = 73
    case error = 69
    case fatal = 70
    case unknown = 63
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchLog.h (ExecuTorchLogSink)
public protocol LogSink {
    func log(level: LogLevel, timestamp: TimeInterval, filename: String, line: UInt, message: String)
}

/// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchLog.h (ExecuTorchLog)
public final class Log: Sendable {
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchLog.h (sharedLog)
    public static let shared = Log()
    /// Source: pytorch/executorch extension/apple/ExecuTorch/Exported/ExecuTorchLog.h (addSink:)
    public func add(sink: any LogSink) {}
}
