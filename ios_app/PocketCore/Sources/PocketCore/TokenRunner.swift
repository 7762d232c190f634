// Drives a text-llm program by its `forward(tokens, position) -> logits`: ids in and out, the cache in the program.
//
// This is how the app runs XNNPACK packages: bytes stay ours, where iOS's TextRunner loses a piece that ends inside a
// character. A CoreML program with a state of its own has the same method with a chunk of 1.

public final class TokenRunner: IdRunner {
    private static let forward = "forward"

    private let module: any ModuleLike
    private let method: Manifest.Method
    private let manifest: Manifest

    public var context: Context { manifest.context }

    /// - Throws: `PocketError`: the package is for another kind of runner.
    public init(module: any ModuleLike, manifest: Manifest) throws {
        guard manifest.runner.kind == .textLlm, let method = manifest.method(Self.forward) else {
            throw PocketError(
                "this package needs a '\(manifest.runner.kind.rawValue)' runner; this one drives 'text-llm' packages")
        }
        self.module = module
        self.method = method
        self.manifest = manifest
    }

    public func load() throws { try module.load(methods: [Self.forward]) }

    public func close() { module.close() }

    /// At position 0 no query sees a slot that was not written since, so there is nothing to clear, save a Core ML
    /// state: it begins anew with the method.
    public func reset() throws {
        if manifest.target.hasPrefix("coreml-") {
            module.close()
            try load()
        }
    }

    public func logits(_ ids: [Int], position: Int, isStopped: () -> Bool) throws -> [Double]? {
        if ids.isEmpty { throw PocketError("there is nothing to run: no token ids were given") }
        let vocabulary = manifest.model.config.vocabSize
        for id in ids where !(0..<vocabulary).contains(id) {
            throw PocketError("id \(id) is none of the vocabulary; ids go from 0 to \(vocabulary - 1)")
        }
        if context.kind == .bounded, position + ids.count > context.tokens {
            throw PocketError(context.endSentence, kind: .contextFull)
        }
        var logits: TensorBuffer?
        for start in stride(from: 0, to: ids.count, by: manifest.chunk) {
            if isStopped() { return nil }
            let part = Array(ids[start..<min(start + manifest.chunk, ids.count)])
            let tokens = TensorBuffer(method.inputs[0].type, [1, part.count])
            tokens.fill(part)
            let at = TensorBuffer(method.inputs[1].type, [1])
            at.fill([position + start])
            let given = try module.execute(Self.forward, [tokens, at])
            try StaticRunner.check(Self.forward, method.outputs, given)
            logits = given[0]
        }
        return logits?.doubles()
    }
}
