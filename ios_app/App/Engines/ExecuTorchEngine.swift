// XNNPACK packages on the CPU.
//
// Tokens are made by our own reader of tokenizer.json and run through `Module`, one `forward` a chunk or token, so that
// a reply's bytes are ours and no character is lost that two tokens share. ExecuTorch's TextRunner makes an NSString of
// each piece and loses such characters; it is left to tokenizers that only it reads (sentencepiece), whose pieces are
// whole characters but for byte tokens.
import PocketCore

enum ExecuTorchEngine {
    static func make(
        _ package: InstalledPackage, onProgress: @escaping @Sendable (LoadProgress) -> Void
    ) throws -> any LlmEngine {
        switch package.manifest.tokenizer.kind {
        case .hf:
            let module = ExecuTorchModule(path: package.program.path) { step in
                if case .begins = step { onProgress(.mapping) }
            }
            return try Engines.make(package, module: module)
        case .sentencepiece:
            let runner = nativeTextRunner(
                program: package.program, tokenizer: package.tokenizer, numBos: package.manifest.tokenizer.numBos)
            return RunnerEngine(runner: runner, manifest: package.manifest)
        }
    }
}
