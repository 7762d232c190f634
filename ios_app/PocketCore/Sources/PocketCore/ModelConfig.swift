// Everything that decides the arithmetic of the decoder, as model/config.py reads and checks it.

/// Llama 3.1's frequency scaling.
public struct RopeScaling: Equatable, Sendable {
    public let factor: Double
    public let lowFreqFactor: Double
    public let highFreqFactor: Double
    /// Tokens.
    public let originalContext: Int

    init(_ place: Place) throws {
        let object = try place.object(["factor", "low_freq_factor", "high_freq_factor", "original_context"])
        factor = try object["factor"].number()
        lowFreqFactor = try object["low_freq_factor"].number()
        highFreqFactor = try object["high_freq_factor"].number()
        originalContext = try object["original_context"].int()
        try place.guarded(check)
    }

    private func check() throws {
        let numbers = [("factor", factor), ("low_freq_factor", lowFreqFactor), ("high_freq_factor", highFreqFactor)]
        for (name, value) in numbers where value <= 0 {
            throw PocketError("rope_scaling.\(name) is \(Shown.repr(value)); it must be above 0")
        }
        if originalContext < 1 {
            throw PocketError("rope_scaling.original_context is \(originalContext); it must be at least 1")
        }
        if lowFreqFactor >= highFreqFactor {
            throw PocketError(
                "rope_scaling.low_freq_factor \(Shown.repr(lowFreqFactor)) must be below high_freq_factor "
                    + Shown.repr(highFreqFactor))
        }
    }
}

public struct ModelConfig: Equatable, Sendable {
    public enum RopeLayout: String, CaseIterable, Sendable {
        case interleaved, halves
    }

    static let keys = [
        "vocab_size", "dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim", "global_layers",
        "sliding_window", "max_context", "norm_eps", "rope_theta", "rope_scaling", "rope_layout", "no_rope_layers",
        "qk_norm", "temperature_floor", "temperature_scale", "tied",
    ]

    public let vocabSize: Int
    public let dim: Int
    public let numLayers: Int
    public let numHeads: Int
    public let numKvHeads: Int
    public let headDim: Int
    public let ffnDim: Int
    /// Indices of layers that attend over the whole context; the rest are local.
    public let globalLayers: [Int]
    /// Tokens that a local layer sees, the current one included.
    public let slidingWindow: Int
    /// Positions that the model was trained for.
    public let maxContext: Int
    public let normEps: Double
    public let ropeTheta: Double
    public let ropeScaling: RopeScaling?
    public let ropeLayout: RopeLayout
    /// Indices of layers without rotary positions.
    public let noRopeLayers: [Int]
    public let qkNorm: Bool
    /// Of layers without rotary positions: tokens a step; 0 = off.
    public let temperatureFloor: Int
    public let temperatureScale: Double
    /// One table for input and output.
    public let tied: Bool

    init(_ place: Place) throws {
        let object = try place.object(Self.keys)
        vocabSize = try object["vocab_size"].int()
        dim = try object["dim"].int()
        numLayers = try object["num_layers"].int()
        numHeads = try object["num_heads"].int()
        numKvHeads = try object["num_kv_heads"].int()
        headDim = try object["head_dim"].int()
        ffnDim = try object["ffn_dim"].int()
        globalLayers = try object["global_layers"].list().map { try $0.int() }
        slidingWindow = try object["sliding_window"].int()
        maxContext = try object["max_context"].int()
        normEps = try object["norm_eps"].number()
        ropeTheta = try object["rope_theta"].number()
        ropeScaling = try object["rope_scaling"].optional(RopeScaling.init)
        ropeLayout = try object["rope_layout"].oneOf(RopeLayout.self)
        noRopeLayers = try object["no_rope_layers"].list().map { try $0.int() }
        qkNorm = try object["qk_norm"].bool()
        temperatureFloor = try object["temperature_floor"].int()
        temperatureScale = try object["temperature_scale"].number()
        tied = try object["tied"].bool()
        try place.guarded(check)
    }

    private func check() throws {
        let counts = [
            ("vocab_size", vocabSize), ("dim", dim), ("num_layers", numLayers), ("num_heads", numHeads),
            ("num_kv_heads", numKvHeads), ("head_dim", headDim), ("ffn_dim", ffnDim),
            ("sliding_window", slidingWindow), ("max_context", maxContext),
        ]
        for (name, value) in counts where value < 1 {
            throw PocketError("\(name) is \(value); it must be at least 1")
        }
        if temperatureFloor < 0 {
            throw PocketError("temperature_floor is \(temperatureFloor); it must be at least 0")
        }
        for (name, value) in [("norm_eps", normEps), ("rope_theta", ropeTheta)] where value <= 0 {
            throw PocketError("\(name) is \(Shown.repr(value)); it must be above 0")
        }
        if temperatureScale < 0 {
            throw PocketError("temperature_scale is \(Shown.repr(temperatureScale)); it must be at least 0")
        }
        if numHeads % numKvHeads != 0 {
            throw PocketError("num_heads \(numHeads) is not a multiple of num_kv_heads \(numKvHeads)")
        }
        if headDim % 2 != 0 { throw PocketError("head_dim \(headDim) is odd; rotary positions need pairs") }
        for (name, layers) in [("global_layers", globalLayers), ("no_rope_layers", noRopeLayers)] {
            let isIncreasing = zip(layers, layers.dropFirst()).allSatisfy { $0 < $1 }
            if !isIncreasing || !layers.allSatisfy({ (0..<numLayers).contains($0) }) {
                throw PocketError("\(name) \(Shown.list(layers)) must be increasing indices below \(numLayers)")
            }
        }
    }

    /// The seven matrices of a layer, in the order in which it uses them: name, rows, columns.
    var layerMatrices: [(name: String, rows: Int, columns: Int)] {
        let (wide, narrow) = (Whole.product(numHeads, headDim), Whole.product(numKvHeads, headDim))
        return [
            ("attention.q_proj", wide, dim), ("attention.k_proj", narrow, dim), ("attention.v_proj", narrow, dim),
            ("attention.o_proj", dim, wide), ("feed_forward.gate_proj", ffnDim, dim),
            ("feed_forward.up_proj", ffnDim, dim), ("feed_forward.down_proj", dim, ffnDim),
        ]
    }

    var numParameters: Int {
        let layer = Whole.sum(layerMatrices.map { Whole.product($0.rows, $0.columns) } + [dim, dim])
        let tables = Whole.product(vocabSize, dim, tied ? 1 : 2)
        return Whole.sum([tables, Whole.product(numLayers, layer), dim])
    }
}

/// Arithmetic of non-negative integers that a hostile manifest cannot overflow: it stays at the largest one.
enum Whole {
    static func product(_ factors: Int...) -> Int {
        factors.reduce(1) { result, factor in
            let (value, isOver) = result.multipliedReportingOverflow(by: factor)
            return isOver ? Int.max : value
        }
    }

    static func sum(_ terms: [Int]) -> Int {
        terms.reduce(0) { result, term in
            let (value, isOver) = result.addingReportingOverflow(term)
            return isOver ? Int.max : value
        }
    }
}
