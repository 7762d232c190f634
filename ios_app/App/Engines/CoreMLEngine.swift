// Core ML packages on the Neural Engine or the GPU: caches are inputs, and the core's loop writes them.
import PocketCore

enum CoreMLEngine {
    /// - Throws: a `PocketError` before iOS 18, whose Core ML is the first to read 4-bit weights in blocks.
    static func make(
        _ package: InstalledPackage, marks: CompiledMarks, onProgress: @escaping @Sendable (LoadProgress) -> Void
    ) throws -> any LlmEngine {
        guard #available(iOS 18, *) else {
            throw PocketError("this package needs iOS 18; update iOS, or export the package with --target xnnpack")
        }
        let id = package.id.sha256
        let isFirst = !marks.isCompiled(id)
        let module = ExecuTorchModule(path: package.program.path) { step in
            switch step {
            case .begins(let number, let count):
                onProgress(.method(number: number, count: count, isFirst: isFirst))
            case .done:
                marks.setCompiled(id)
            }
        }
        return try Engines.make(package, module: module)
    }
}
