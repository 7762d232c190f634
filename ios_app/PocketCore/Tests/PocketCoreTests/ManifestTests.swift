// Good and bad manifests, over the vectors: the same sentence as Python's, or at least the same place.
import XCTest

@testable import PocketCore

final class ManifestTests: XCTestCase {
    func testManifests() throws {
        let bases = try Vectors.document("manifests").get("bases")
        try Vectors.each("manifests") { each in
            let sentence = try refusal(each, bases)
            let expected = try each.get("expected")
            guard let wanted = expected["error"]?.text else {
                if let sentence { throw Mismatch(description: "refused: \(sentence)") }
                return
            }
            guard let sentence else { throw Mismatch(description: "accepted") }
            if wanted.contains("did you mean") || wanted.contains("not valid JSON") {
                let cut = wanted.components(separatedBy: ";")[0]
                if !sentence.hasPrefix(cut) { throw Mismatch(description: "\(sentence) is not \(wanted)") }
            } else {
                try expect(sentence, wanted)
            }
            let place = try expected.string("place")
            if !place.isEmpty, !wanted.contains("needs a newer"), !sentence.contains(place) {
                throw Mismatch(description: "\(sentence) does not name \(place)")
            }
        }
    }

    private func refusal(_ each: JsonValue, _ bases: JsonValue) throws -> String? {
        do {
            if let base = each["base"]?.text {
                let data = try bases.get(base)
                _ = try Manifest.parse(each["edit"].map { try edited(data, $0) } ?? data)
            } else if let content = each["content"]?.text {
                _ = try Manifest.read(Array(content.utf8))
            } else {
                _ = try Manifest.read(bytes(each.string("content_hex")))
            }
            return nil
        } catch let error as PocketError {
            return error.text
        }
    }

    private func edited(_ data: JsonValue, _ edit: JsonValue) throws -> JsonValue {
        set(data, try edit.list("path")[...], edit["value"])
    }

    /// The value with another one at a path; nil takes the key away.
    private func set(_ data: JsonValue, _ path: ArraySlice<JsonValue>, _ value: JsonValue?) -> JsonValue? {
        guard let step = path.first else { return value }
        if case .array(var items) = data, let index = step.int {
            items[index] = set(items[index], path.dropFirst(), value) ?? .null
            return .array(items)
        }
        guard case .object(let object) = data, let key = step.text else { return data }
        var entries = object.entries.compactMap { entry in
            entry.key != key ? entry : set(entry.value, path.dropFirst(), value).map { JsonEntry(key, $0) }
        }
        if object[key] == nil, path.count == 1, let value { entries.append(JsonEntry(key, value)) }
        return .object(entries)
    }

    private func set(_ data: JsonValue, _ path: ArraySlice<JsonValue>, _ value: JsonValue?) -> JsonValue {
        set(data, path, value) ?? .null as JsonValue
    }

    func testHostileNumbersOverflowNothing() throws {
        let base = try Vectors.document("manifests").get("bases").get("static-kv")
        let huge = JsonValue.integer(Place.maxInteger)
        let fields = ["vocab_size", "dim", "num_layers", "num_heads", "num_kv_heads", "ffn_dim", "sliding_window"]
        for field in fields {
            let path: [JsonValue] = [.string("model"), .string("config"), .string(field)]
            XCTAssertThrowsError(try Manifest.parse(set(base, path[...], huge)), field)
        }
        for path in [["cache", "bytes"], ["chunk"], ["window"], ["context", "tokens"]] {
            XCTAssertThrowsError(try Manifest.parse(set(base, path.map { .string($0) }[...], huge)), "\(path)")
        }
    }
}
