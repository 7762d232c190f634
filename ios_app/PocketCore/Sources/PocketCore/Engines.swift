// Which engine runs a package.

public enum Engines {
    /// The engine over a loaded program's methods: exact counts, bytes of our own.
    ///
    /// - Throws: `PocketError`: the tokenizer is none that `Bpe` reads, or the package is for another runner.
    public static func make(_ package: InstalledPackage, module: any ModuleLike) throws -> TokenEngine {
        let manifest = package.manifest
        let runner: any IdRunner
        switch manifest.runner.kind {
        case .staticKv: runner = try StaticRunner(module: module, manifest: manifest)
        case .textLlm: runner = try TokenRunner(module: module, manifest: manifest)
        }
        return TokenEngine(tokenizer: try Bpe(package), runner: runner, stopIds: manifest.tokenizer.stopIds)
    }
}
