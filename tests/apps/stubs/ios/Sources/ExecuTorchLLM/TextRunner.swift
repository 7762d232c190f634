/// The part of ExecuTorchLLM that the app uses. What runs a program is given by a test (`StubTextPrograms`).
///
/// Own code: only names and types come from the sources named beside each declaration,
/// read at commit cff6f4dd32e630945b7188512c1f2b4f102b05ad.

import ExecuTorch
import Foundation

/// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (ExecuTorchLLMConfig)
@available(*, deprecated, message: "This API is experimental.")
public final class Config {
    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (echoEnabled)
    public var isEchoEnabled = true
    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (maximumNewTokens)
    public var maximumNewTokens = -1
    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (sequenceLength)
    public var sequenceLength = -1
    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (temperature)
    public var temperature = 0.8
    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (bosCount)
    public var bosCount = 0
    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (eosCount)
    public var eosCount = 0

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMConfig.h (initWithBlock:)
    public init(_ block: (Config) -> Void) {
        block(self)
    }
}

/// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (TextRunner)
@available(*, deprecated, message: "This API is experimental.")
public final class TextRunner {
    private let modelPath: String
    private var program: (any StubTextProgram)?

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (initWithModelPath:tokenizerPath:)
    public init(modelPath: String, tokenizerPath: String) {
        self.modelPath = modelPath
    }

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (isLoaded)
    public func isLoaded() -> Bool { program != nil }

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (loadWithError:)
    public func load() throws {
        guard let open = StubTextPrograms.open else { throw stubError(code: 32) }
        program = try open(modelPath)
    }

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (generateWithPrompt:config:tokenCallback:error:)
    public func generate(_ prompt: String, _ config: Config, tokenCallback: ((String) -> Void)? = nil) throws {
        if program == nil { try load() }
        try program?.generate(
            prompt, bosCount: config.bosCount, maximumNewTokens: config.maximumNewTokens,
            onToken: tokenCallback ?? { _ in })
    }

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (stop)
    public func stop() { program?.stop() }

    /// Source: pytorch/executorch extension/llm/apple/ExecuTorchLLM/Exported/ExecuTorchLLMTextRunner.h (reset)
    public func reset() { program?.reset() }
}

/// No part of ExecuTorch: what a Linux test puts behind `TextRunner`.
public protocol StubTextProgram {
    func generate(_ prompt: String, bosCount: Int, maximumNewTokens: Int, onToken: (String) -> Void) throws
    func stop()
    func reset()
}

/// No part of ExecuTorch: how a Linux test gives programs to `TextRunner`.
public enum StubTextPrograms {
    /// No part of ExecuTorch.
    nonisolated(unsafe) public static var open: ((String) throws -> any StubTextProgram)?
}
