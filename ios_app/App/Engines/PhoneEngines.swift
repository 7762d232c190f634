// Which engine runs which package on this phone.
import PocketCore

/// Makes the engine of an installed package. Used on the worker's thread.
struct PhoneEngines: Sendable {
    let marks: CompiledMarks
    let onProgress: @Sendable (LoadProgress) -> Void

    /// - Throws: a `PocketError` where this system or app cannot run the package.
    @Sendable func make(_ package: InstalledPackage) throws -> any LlmEngine {
        if package.isCoreMl {
            try CoreMLEngine.make(package, marks: marks, onProgress: onProgress)
        } else {
            try ExecuTorchEngine.make(package, onProgress: onProgress)
        }
    }
}

extension InstalledPackage {
    /// Whether Core ML runs it. The loop with caches outside exists for Core ML alone.
    var isCoreMl: Bool {
        manifest.runner.kind == .staticKv || manifest.target.hasPrefix("coreml")
    }
}
