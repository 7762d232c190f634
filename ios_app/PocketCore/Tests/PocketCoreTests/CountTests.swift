// Rings, windows, restored chats and the sentences, over the vectors.
import XCTest

@testable import PocketCore

final class CountTests: XCTestCase {
    func testRing() throws {
        try Vectors.each("ring_slots") { each in
            let found = answer {
                let shape = try CacheShape.of(
                    kind: each.string("kind"), window: each.int("window"), chunk: each.int("chunk"),
                    context: each.int("context"), isEndless: each.bool("is_endless"))
                return try ring(shape, position: each.int("position"), count: each.int("count"), wanted: each)
            }
            try expect(found, each["expected"])
        }
    }

    private func ring(_ shape: CacheShape, position: Int, count: Int, wanted: JsonValue) throws -> JsonValue {
        let mask = try Ring.visibleSlots(position: position, count: count, shape: shape)
        let held = try Ring.positionsHeld(end: position + count, slots: shape.slots)
        let seen = try (position..<position + count).map {
            try Ring.visiblePositions(position: $0, window: shape.window)
        }
        return .record([
            "slots": .number(shape.slots), "sees": .number(shape.window), "max_chunk": .number(shape.maxChunk),
            "slots_written": .numbers(try Ring.slotsOf(position: position, count: count, slots: shape.slots)),
            "positions_held": .numbers(shape.slots > 19 ? [] : held),
            "visible": .array(seen.map { .numbers([$0.lowerBound, $0.upperBound]) }),
            "mask": .texts(mask.map { row in String(row.map { $0 ? "x" : "." }) }),
        ])
    }

    func testWindow() throws {
        try Vectors.each("window") { each in
            let found = answer {
                let context = try context(each.get("context"))
                let position = try each.int("position")
                if try each.string("call") == "new_token_budget" {
                    let tokens = try Window.newTokenBudget(
                        position: position, promptTokens: each.int("prompt_tokens"), wanted: each.int("wanted"),
                        context: context)
                    return .record(["new_tokens": .number(tokens)])
                }
                let mark = try Window.mark(
                    turnStarts: each.ints("turn_starts"), position: position, context: context)
                let remaining = try Window.remaining(position: position, context: context)
                return .record([
                    "first_visible_position": .number(mark.firstVisiblePosition),
                    "first_visible_turn": .number(mark.firstVisibleTurn), "is_partial": .bool(mark.isPartial),
                    "remaining": .number(remaining),
                ])
            }
            try expect(found, each["expected"])
        }
    }

    func testRestore() throws {
        try Vectors.each("restore") { each in
            let found = answer {
                let kept = try Window.restore(
                    roles: each.strings("roles"), lengths: each.ints("lengths"), context: context(each.get("context")),
                    reserve: each.int("reserve"))
                return json(kept)
            }
            try expect(found, each["expected"])
        }
    }

    func testSentences() throws {
        var keys: Set<String> = []
        try Vectors.each("sentences") { each in
            let wanted = try each.get("expected")["text"]?.text
            switch try each.string("call") {
            case "size": try expect(Sentences.size(Int64(each.int("bytes"))), wanted)
            case "as_sentence": try expect(Sentences.asSentence(each.string("text")), wanted)
            default:
                guard let key = SentenceKey(rawValue: try each.string("key")) else {
                    throw Mismatch(description: "no such key")
                }
                keys.insert(key.rawValue)
                var values: [String: String] = [:]
                if case .object(let object) = try each.get("arguments") {
                    for entry in object.entries { values[entry.key] = entry.value.text }
                }
                try expect(Sentences.template(key), each.string("template"))
                try expect(Sentences.text(key, values), wanted)
            }
        }
        XCTAssertEqual(keys, Set(SentenceKey.allCases.map(\.rawValue)))
    }
}

func json(_ kept: Kept) -> JsonValue {
    .record([
        "has_system": .bool(kept.hasSystem), "first": .number(kept.first), "tokens": .number(kept.tokens),
        "note": .string(kept.note),
    ])
}
