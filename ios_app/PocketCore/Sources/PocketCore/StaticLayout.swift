// What a static-kv program takes and gives: every method's tensors in calling order, as export/static_layout.py has it.
//
// Shapes: T tokens of one call, S slots of a layer's ring, G key-value heads, D head width.

enum StaticLayout {
    /// Rows of a matrix on the Neural Engine; the head is cut into chunks of at most so many.
    static let maxRows = 16_384

    /// Rows of each chunk of the head: as few and as equal as they can be.
    static func rowChunks(_ vocabSize: Int) -> [Int] {
        let count = (vocabSize - 1) / maxRows + 1
        let (size, longer) = vocabSize.quotientAndRemainder(dividingBy: count)
        return (0..<count).map { size + ($0 < longer ? 1 : 0) }
    }

    /// T of each method.
    static func lengths(chunk: Int, hasPrefill: Bool) -> [String: Int] {
        hasPrefill && chunk > 1 ? ["prefill": chunk, "forward": 1] : ["forward": chunk]
    }

    static func inputs(_ config: ModelConfig, _ layers: [Manifest.CacheLayer], length: Int) -> [Manifest.TensorSpec] {
        var specs = [spec("tokens", .int32, 1, length), spec("last", .float16, 1, length)]
        specs += ["cos", "sin"].map { spec($0, .float16, length, config.headDim / 2) }
        if config.temperatureFloor != 0, !config.noRopeLayers.isEmpty {
            specs.append(spec("temperature", .float16, length, 1))
        }
        for kind in [Manifest.LayerKind.local, .global] {
            if let slots = layers.first(where: { $0.kind == kind })?.slots {
                specs.append(spec("mask_\(kind.rawValue)", .float16, length, Whole.sum([slots, length])))
            }
        }
        for layer in layers {
            specs += ["k", "v"].map {
                spec("\($0)_cache_\(layer.layer)", .float16, 1, config.numKvHeads, layer.slots, config.headDim)
            }
        }
        return specs
    }

    static func outputs(_ config: ModelConfig, _ layers: [Manifest.CacheLayer], length: Int) -> [Manifest.TensorSpec] {
        let rows = rowChunks(config.vocabSize)
        var specs = rows.enumerated().map { spec(rows.count > 1 ? "logits_\($0)" : "logits", .float16, 1, $1) }
        for layer in layers {
            specs += ["k", "v"].map {
                spec("\($0)_new_\(layer.layer)", .float16, 1, config.numKvHeads, length, config.headDim)
            }
        }
        return specs
    }

    private static func spec(_ name: String, _ type: Manifest.TensorType, _ shape: Int...) -> Manifest.TensorSpec {
        Manifest.TensorSpec(name: name, type: type, shape: shape, dynamic: [])
    }
}
