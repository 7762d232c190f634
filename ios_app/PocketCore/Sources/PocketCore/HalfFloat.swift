// float16 as its 16 bits, in integer arithmetic: not every processor that this core is built for has the type.
import Foundation

public enum HalfFloat {
    static let largest = 65_504.0

    /// The float16 nearest to a double; of two that are equally near the even one.
    ///
    /// It goes from the double at once: by way of a float32 it would be rounded twice. Every step before the rounding
    /// is exact, because it scales by powers of two.
    ///
    /// - Throws: `PocketError`: not a number, or too large for float16.
    public static func bits(_ value: Double) throws -> UInt16 {
        if !value.isFinite {
            throw PocketError(
                "\(Shown.repr(value)) has no float16; the settings of positions or temperature have overflowed")
        }
        let sign: Int = value.sign == .minus ? 0x8000 : 0
        if value == 0 { return UInt16(sign) }
        // |value| lies in [2^exponent, 2^(exponent + 1)), or is subnormal; units are 1024 to 2048, or fewer then.
        let exponent = max(Int(value.exponent), -14)
        let units = scalbn(abs(value), 10 - exponent).rounded(.toNearestOrEven)
        // The leading one of `units` raises the exponent's field by one.
        let bits = Int(units) + (exponent + 14) * 1024
        if bits >= 0x7C00 {
            throw PocketError("\(Shown.repr(value)) is too large for float16, which ends at \(Int(largest))")
        }
        return UInt16(sign + bits)
    }

    /// The double that a float16's bits stand for.
    public static func double(_ bits: UInt16) -> Double {
        let fraction = Double(bits & 0x3FF)
        let exponent = Int(bits >> 10 & 0x1F)
        let magnitude: Double
        switch exponent {
        case 0: magnitude = scalbn(fraction, -24)
        case 31: magnitude = fraction == 0 ? .infinity : .nan
        default: magnitude = scalbn(1024 + fraction, exponent - 25)
        }
        return bits & 0x8000 == 0 ? magnitude : -magnitude
    }
}
