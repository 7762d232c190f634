// From logits to the next id in plain doubles, with random numbers that every language repeats: xoshiro256**.
//
// The arithmetic and its order are those of the native runner (runner/sampler.cpp) and of chat/sampling.py, so a seed
// gives the same ids there and here. V vocabulary.
import Foundation

/// Fills the state of the other generator (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
struct SplitMix64 {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// xoshiro256** 1.0 (Blackman, Vigna: Scrambled linear pseudorandom number generators, arXiv 1805.01407).
public struct Xoshiro256: Sendable {
    private var a, b, c, d: UInt64

    /// The generator whose state SplitMix64 makes of a seed.
    public init(seed: UInt64) {
        var filler = SplitMix64(seed: seed)
        a = filler.next()
        b = filler.next()
        c = filler.next()
        d = filler.next()
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        let result = Self.rotated(b &* 5, 7) &* 9
        let shifted = b << 17
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = Self.rotated(d, 45)
        return result
    }

    /// A double in [0, 1), a multiple of 2^-53.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    private static func rotated(_ word: UInt64, _ by: UInt64) -> UInt64 { word << by | word >> (64 - by) }
}

/// Picks ids one at a time; holds the random state.
public struct SeededSampler: Sendable {
    private let temperature: Double
    private let topP: Double
    private var random: Xoshiro256

    /// - Parameters:
    ///   - temperature: 0 always takes the likeliest.
    ///   - topP: keep the smallest set of ids whose probability reaches it (Holtzman et al., arXiv 1904.09751).
    ///   - seed: nil draws one from the system.
    /// - Throws: `PocketError`: a temperature that is negative or not finite, a topP outside (0, 1], a seed of 2^63 on.
    public init(temperature: Double = 0, topP: Double = 1, seed: UInt64? = nil) throws {
        if !(0 <= temperature && temperature < .infinity) {
            throw PocketError(
                "temperature is \(Shown.repr(temperature)); it must be 0 (greedy) or more, and finite")
        }
        if !(0 < topP && topP <= 1) { throw PocketError("top_p is \(Shown.repr(topP)); it must lie in (0, 1]") }
        if let seed, seed >> 63 != 0 {
            throw PocketError("seed is \(seed); it must be an integer from 0 to 2**63 - 1")
        }
        self.temperature = temperature
        self.topP = topP
        random = Xoshiro256(seed: seed ?? UInt64.random(in: 0..<1 << 63))
    }

    /// The next id from one position's logits [V]: the first of the largest, or drawn.
    ///
    /// 1. Weights are exp((logit - largest) / temperature), summed up in the order of the ids.
    /// 2. Below a `topP` of 1 ids are kept from the heaviest down (of equals the first id) while the weight kept is
    ///    less than `topP` times the sum; they are then gone through from the lightest kept one up.
    /// 3. One random number in [0, 1), times the weight kept; each id's weight is taken off it in turn, and the id that
    ///    makes it negative is drawn. Rounding alone can leave a rest: then the likeliest.
    ///
    /// - Throws: `PocketError`: a logit is NaN, or the largest is infinite: the model's numbers have overflowed.
    public mutating func pick(_ logits: [Double]) throws -> Int {
        let best = try Self.likeliest(logits)
        if temperature == 0 { return best }
        let largest = logits[best]
        let weights = logits.map { exp(($0 - largest) / temperature) }
        let total = weights.reduce(0, +)
        if topP == 1 { return draw(weights.indices, weights, kept: total) ?? best }
        let (order, kept) = Self.nucleus(weights, wanted: topP * total)
        return draw(order, weights, kept: kept) ?? best
    }

    private mutating func draw(_ order: some Sequence<Int>, _ weights: [Double], kept: Double) -> Int? {
        var left = random.uniform() * kept
        for token in order {
            left -= weights[token]
            if left < 0 { return token }
        }
        return nil
    }

    /// The id of the largest logit, the first of equals.
    ///
    /// - Throws: `PocketError`: see `pick`.
    public static func likeliest(_ logits: [Double]) throws -> Int {
        var (largest, best) = (-Double.infinity, 0)
        var hasNan = false
        for (token, logit) in logits.enumerated() {
            hasNan = hasNan || logit.isNaN
            if logit > largest { (largest, best) = (logit, token) }
        }
        if hasNan || !largest.isFinite {
            throw PocketError(
                "the model's largest logit is \(hasNan ? "nan" : Shown.repr(largest)): its numbers have overflowed; "
                    + "check the checkpoint's weights")
        }
        return best
    }

    /// The ids kept, the lightest first, and the sum of their weights.
    private static func nucleus(_ weights: [Double], wanted: Double) -> ([Int], Double) {
        let heaviest = weights.indices.sorted { weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1 }
        var total = 0.0
        let kept = heaviest.prefix { token in
            if total >= wanted { return false }
            total += weights[token]
            return true
        }
        return (kept.reversed(), total)
    }
}
