// The loop around a static-kv program: which method runs, what its inputs hold, which slots are written afterwards.
//
// Such a program remembers nothing. Caches are inputs, new keys and values are outputs, and the app writes them into
// its rings after each call. Integers and doubles only, no tensors; positions of an endless chat pass 2^31.
//
// Shapes: T tokens that a call takes, S slots of a layer's cache, D head width.
import Foundation

/// Rotary positions; scaling as Llama 3.1 does it.
public struct Rope: Equatable, Sendable {
    public let theta: Double
    public let headDim: Int
    /// 0: no scaling, and the three below say nothing.
    public let factor: Double
    public let lowFreqFactor: Double
    public let highFreqFactor: Double
    /// Tokens.
    public let originalContext: Int

    /// - Throws: `PocketError`: an odd or empty head, or a theta that is not positive.
    public init(
        theta: Double, headDim: Int, factor: Double = 0, lowFreqFactor: Double = 0, highFreqFactor: Double = 0,
        originalContext: Int = 0
    ) throws {
        if headDim < 2 || headDim % 2 != 0 {
            throw PocketError(
                "head_dim is \(headDim); rotary positions need pairs, so an even number from 2 on")
        }
        if !(theta > 0) { throw PocketError("theta is \(Shown.repr(theta)); it must be above 0") }
        self.theta = theta
        self.headDim = headDim
        self.factor = factor
        self.lowFreqFactor = lowFreqFactor
        self.highFreqFactor = highFreqFactor
        self.originalContext = originalContext
    }
}

/// What the loop must know of a program; the manifest and the program's constant methods both say it.
public struct StaticKv: Equatable, Sendable {
    public let context: Context
    public let vocabSize: Int
    /// T of `prefill`, or of `forward` where it is the only method.
    public let chunk: Int
    /// Two methods: `prefill` takes `chunk` tokens, `forward` takes one.
    public let hasPrefill: Bool
    /// S of each layer.
    public let slots: [Int]
    /// For each layer: whether it attends over the whole context.
    public let isGlobal: [Bool]
    public let numKvHeads: Int
    public let rope: Rope
    /// Of layers without RoPE (Llama 4); 0: the program has no such input.
    public let temperatureFloor: Int
    public let temperatureScale: Double

    /// - Throws: `PocketError`: no layer, lists of unequal length, a number below 1, kinds with several lengths, or a
    ///   chunk that is longer than a cache.
    public init(
        context: Context, vocabSize: Int, chunk: Int, hasPrefill: Bool, slots: [Int], isGlobal: [Bool],
        numKvHeads: Int, rope: Rope, temperatureFloor: Int = 0, temperatureScale: Double = 0
    ) throws {
        guard let fewest = slots.min(), slots.count == isGlobal.count else {
            throw PocketError(
                "\(slots.count) caches and \(isGlobal.count) kinds; give one of each for a layer")
        }
        for (name, least) in [("chunk", chunk), ("slots", fewest), ("num_kv_heads", numKvHeads)] where least < 1 {
            throw PocketError("\(name) is \(least); it must be at least 1")
        }
        if chunk > fewest { throw PocketError("a chunk of \(chunk) tokens does not fit a ring of \(fewest) slots") }
        for kind in [false, true] {
            let lengths = Set(zip(slots, isGlobal).filter { $0.1 == kind }.map(\.0))
            if lengths.count > 1 {
                throw PocketError(
                    "layers of one kind have caches of \(Shown.list(lengths.sorted())) slots; one mask serves only one "
                        + "length")
            }
        }
        self.context = context
        self.vocabSize = vocabSize
        self.chunk = chunk
        self.hasPrefill = hasPrefill
        self.slots = slots
        self.isGlobal = isGlobal
        self.numKvHeads = numKvHeads
        self.rope = rope
        self.temperatureFloor = temperatureFloor
        self.temperatureScale = temperatureScale
    }

    /// S of the layers of a kind; nil where there is no such layer.
    public func kindSlots(isGlobal kind: Bool) -> Int? { zip(slots, isGlobal).first { $0.1 == kind }?.0 }

    /// The calls that write the ids from `position` on: whole chunks, then the rest.
    ///
    /// A single token goes through `forward` where it is the shorter method; two or more go through the chunk, padded,
    /// because one call costs little more than a token.
    ///
    /// - Throws: `PocketError`: no ids, one that is none of the vocabulary, a negative position, or a bounded context
    ///   that ends before they are written; the sentence is for the user.
    public func calls(_ ids: [Int], position: Int) throws -> [StaticCall] {
        if ids.isEmpty { throw PocketError("there is nothing to run: no token ids were given") }
        if position < 0 { throw PocketError("position \(position) is negative") }
        for token in ids where !(0..<vocabSize).contains(token) {
            throw PocketError("id \(token) is none of the vocabulary; ids go from 0 to \(vocabSize - 1)")
        }
        if context.kind == .bounded, position + ids.count > context.tokens {
            throw PocketError(context.endSentence, kind: .contextFull)
        }
        return stride(from: 0, to: ids.count, by: chunk).map { start in
            let part = Array(ids[start..<min(start + chunk, ids.count)])
            let isSingle = hasPrefill && part.count == 1
            return StaticCall(
                method: hasPrefill && !isSingle ? "prefill" : "forward", length: isSingle ? 1 : chunk,
                position: position + start, ids: part)
        }
    }
}

/// One call of the program.
public struct StaticCall: Equatable, Sendable {
    /// The id behind the last real token.
    static let padding = 0

    public let method: String
    /// T
    public let length: Int
    /// Of its first token.
    public let position: Int
    /// The real tokens, 1 to T of them.
    public let ids: [Int]

    /// The input `tokens`: padding comes last, where causality hides it.
    public var tokens: [Int] { ids + Array(repeating: Self.padding, count: length - ids.count) }

    /// The input `last`: 1 at the last real token, whose logits the call gives, else 0.
    public var last: [Double] { (0..<length).map { $0 == ids.count - 1 ? 1 : 0 } }

    /// Where in a cache of `slots` slots the new keys and values of the real tokens go, AFTER the call.
    public func slots(_ slots: Int) throws -> [Int] {
        try Ring.slotsOf(position: position, count: ids.count, slots: slots)
    }
}

/// What goes into a call's inputs, as numbers.
public enum StaticInputs {
    /// Added to the score of what a query does not see; finite, because minus infinity gives NaN in float16.
    public static let masked = -10_000.0
    public static let seen = 0.0

    /// What each of T queries sees: S columns for the cache as it is before the call, then T for the new tokens.
    ///
    /// Slot s holds the newest position c < `position` with c mod S = s, if there is one. The query at position q sees
    /// it if c > q - S, and new token j if it is no later than itself. How many tokens are real does not matter.
    ///
    /// - Returns: [T][S + T]; true becomes 0 in the input, false becomes `masked`.
    public static func mask(position: Int, length: Int, slots: Int) throws -> [[Bool]] {
        let held = try Ring.positionsHeld(end: position, slots: slots)
        return (0..<length).map { i in
            let first = position + i - slots + 1  // the oldest position that this query sees
            return held.map { $0 >= 0 && $0 >= first } + (0..<length).map { $0 <= i }
        }
    }

    /// The D/2 angular frequencies in radians a token.
    public static func inverseFrequencies(_ rope: Rope) -> [Double] {
        (0..<rope.headDim / 2).map { i in
            let frequency = pow(rope.theta, -(Double(2 * i) / Double(rope.headDim)))
            return rope.factor != 0 ? scaled(frequency, rope) : frequency
        }
    }

    /// Llama 3.1: low frequencies divided by the factor, high ones kept, those between blended.
    private static func scaled(_ frequency: Double, _ rope: Rope) -> Double {
        let wavelength = 2 * Double.pi / frequency
        let original = Double(rope.originalContext)
        if wavelength > original / rope.lowFreqFactor { return frequency / rope.factor }
        if wavelength < original / rope.highFreqFactor { return frequency }
        let span = rope.highFreqFactor - rope.lowFreqFactor
        let smooth = (original / wavelength - rope.lowFreqFactor) / span
        return (1 - smooth) * frequency / rope.factor + smooth * frequency
    }

    /// Cosines and sines of positions `position` to `position + T - 1`, [T][D/2] each.
    ///
    /// The angle is the position times the frequency, both doubles: positions are exact up to 2^53, and there is no
    /// table. The rows of padding are computed like all others.
    public static func ropeRows(
        position: Int, length: Int, frequencies: [Double]
    ) -> (cos: [[Double]], sin: [[Double]]) {
        let angles = (0..<length).map { i in frequencies.map { Double(position + i) * $0 } }
        return (angles.map { $0.map { Foundation.cos($0) } }, angles.map { $0.map { Foundation.sin($0) } })
    }

    /// Llama 4's factor of queries on layers without RoPE, for each of T positions.
    public static func temperatures(position: Int, length: Int, floor: Int, scale: Double) -> [Double] {
        (0..<length).map { log1p(Double((position + $0 + 1) / floor)) * scale + 1 }
    }
}
