// The numbers of the CoreML host loop and the sampler, over the vectors.
import XCTest

@testable import PocketCore

final class StaticKvTests: XCTestCase {
    func testStaticKv() throws {
        try Vectors.each("static_kv") { each in
            let expected = try each.get("expected")
            switch try each.string("call") {
            case "steps": try expect(answer { try steps(each) }, expected)
            case "rope": try checkRope(each, expected)
            case "half":
                try expect(answer { .record(["bits": .string(try hex([each.double("value")]))]) }, expected)
            case "temperature": try checkTemperatures(each, expected)
            case "random":
                var random = Xoshiro256(seed: try seed(each))
                try expect(.record(["words": .texts((0..<6).map { _ in padded(random.next(), 16) })]), expected)
            default: try expect(answer { try sample(each) }, expected)
            }
        }
    }

    private func steps(_ each: JsonValue) throws -> JsonValue {
        let program = try program(each.get("program"))
        let frequencies = StaticInputs.inverseFrequencies(program.rope)
        var position = try each.int("position")
        var found: [JsonValue] = []
        for send in try each.list("sends") {
            let ids = (send.items ?? []).compactMap(\.int)
            found += try program.calls(ids, position: position).map { try step($0, program, frequencies) }
            position += ids.count
        }
        return .record(["calls": .array(found)])
    }

    private func step(_ call: StaticCall, _ program: StaticKv, _ frequencies: [Double]) throws -> JsonValue {
        let rows = StaticInputs.ropeRows(position: call.position, length: call.length, frequencies: frequencies)
        var entries = [
            JsonEntry("method", .string(call.method)), JsonEntry("length", .number(call.length)),
            JsonEntry("position", .number(call.position)), JsonEntry("tokens", .numbers(call.tokens)),
            JsonEntry("last", .string(String(call.last.map { $0 == 1 ? "x" : "." }))),
            JsonEntry("cos", .texts(try rows.cos.map(hex))), JsonEntry("sin", .texts(try rows.sin.map(hex))),
        ]
        if program.temperatureFloor != 0 {
            let factors = StaticInputs.temperatures(
                position: call.position, length: call.length, floor: program.temperatureFloor,
                scale: program.temperatureScale)
            entries.append(JsonEntry("temperature", .string(try hex(factors))))
        }
        for (kind, isGlobal) in [("local", false), ("global", true)] {
            guard let slots = program.kindSlots(isGlobal: isGlobal) else { continue }
            let mask = try StaticInputs.mask(position: call.position, length: call.length, slots: slots)
            entries.append(JsonEntry("mask_\(kind)", .texts(mask.map { String($0.map { $0 ? "x" : "." }) })))
            entries.append(JsonEntry("slots_\(kind)", .numbers(try call.slots(slots))))
        }
        return .object(entries)
    }

    private func checkRope(_ each: JsonValue, _ expected: JsonValue) throws {
        let frequencies = StaticInputs.inverseFrequencies(try rope(each.get("rope")))
        let wanted = try expected.list("frequencies").compactMap(\.number)
        for (found, right) in zip(frequencies, wanted) { try near(found, right, 4e-16 * right) }
        for row in try expected.list("rows") {
            let position = try row.int("position")
            let found = StaticInputs.ropeRows(position: position, length: 1, frequencies: frequencies)
            for (name, values) in [("cos", found.cos[0]), ("sin", found.sin[0])] {
                for (i, right) in try row.list(name).compactMap(\.number).enumerated() {
                    try near(values[i], right, 1e-15 * (1 + Double(position) * frequencies[i]))
                }
                try expect(hex(values), row.string("\(name)_bits"))
            }
        }
    }

    private func near(_ found: Double, _ right: Double, _ most: Double) throws {
        if abs(found - right) > most { throw Mismatch(description: "\(found) is not \(right)") }
    }

    private func checkTemperatures(_ each: JsonValue, _ expected: JsonValue) throws {
        let found = StaticInputs.temperatures(
            position: try each.int("position"), length: try each.int("length"), floor: try each.int("floor"),
            scale: try each.double("scale"))
        for (value, right) in zip(found, try expected.list("values").compactMap(\.number)) {
            try near(value, right, 1e-15 * right)
        }
        try expect(hex(found), expected.string("bits"))
    }

    private func sample(_ each: JsonValue) throws -> JsonValue {
        let words = ["inf": Double.infinity, "-inf": -Double.infinity, "nan": Double.nan]
        let logits = try each.list("logits").map { $0.number ?? words[$0.text ?? ""] ?? 0 }
        var sampler = try SeededSampler(
            temperature: each.double("temperature"), topP: each.double("top_p"), seed: seed(each))
        return .record(["ids": .numbers(try (0..<24).map { _ in try sampler.pick(logits) })])
    }

    private func seed(_ each: JsonValue) throws -> UInt64 { UInt64(try each.string("seed")) ?? 0 }

    private func program(_ value: JsonValue) throws -> StaticKv {
        try StaticKv(
            context: Context(kind: value.bool("is_endless") ? .endless : .bounded, tokens: value.int("context")),
            vocabSize: value.int("vocab_size"), chunk: value.int("chunk"), hasPrefill: value.bool("has_prefill"),
            slots: value.ints("slots"), isGlobal: value.ints("is_global").map { $0 == 1 }, numKvHeads: 2,
            rope: rope(value.get("rope")), temperatureFloor: value.int("temperature_floor"),
            temperatureScale: value.double("temperature_scale"))
    }

    private func rope(_ value: JsonValue) throws -> Rope {
        try Rope(
            theta: value.double("theta"), headDim: value.int("head_dim"), factor: value.double("factor"),
            lowFreqFactor: value.double("low_freq_factor"), highFreqFactor: value.double("high_freq_factor"),
            originalContext: value.int("original_context"))
    }

    /// Float16 bit patterns, four digits each.
    private func hex(_ values: [Double]) throws -> String {
        try values.map { padded(UInt64(try HalfFloat.bits($0)), 4) }.joined(separator: " ")
    }

    private func padded(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: width - digits.count) + digits
    }

    func testEveryFloat16BecomesADoubleAndBack() throws {
        for bits in 0..<UInt16.max where bits & 0x7C00 != 0x7C00 {
            XCTAssertEqual(try HalfFloat.bits(HalfFloat.double(bits)), bits)
        }
        XCTAssertEqual(HalfFloat.double(0x7C00), .infinity)
        XCTAssertTrue(HalfFloat.double(0x7E00).isNaN)
    }
}
