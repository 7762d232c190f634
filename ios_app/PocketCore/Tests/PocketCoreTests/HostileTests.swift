// Bytes from nowhere: every reader refuses them with an error, none crashes. The seeds are fixed.
import Foundation
import XCTest

@testable import PocketCore

final class HostileTests: XCTestCase {
    private var random = Xoshiro256(seed: 20_261_121)

    private func below(_ count: Int) -> Int { Int(random.next() % UInt64(max(1, count))) }

    /// A copy with some bytes changed, taken out or doubled.
    private func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(4) where !bytes.isEmpty {
            let at = below(bytes.count)
            switch below(5) {
            case 0: bytes[at] = UInt8(below(256))
            case 1: bytes.remove(at: at)
            case 2: bytes.insert(bytes[below(bytes.count)], at: at)
            case 3: bytes.removeSubrange(at..<min(bytes.count, at + 1 + below(64)))
            default: for i in at..<min(bytes.count, at + 8) { bytes[i] = 0xFF }
            }
        }
        return bytes
    }

    func testManifestsAndChats() throws {
        let good = Array(Json.write(try Vectors.document("manifests").get("bases").get("static-kv")).utf8)
        let chat = Array(
            Json.write(
                History.toJson(
                    try SavedChat(
                        packageId: PackageId(String(repeating: "ab", count: 32)),
                        messages: [Message(role: "user", content: "😀\\")]))
            ).utf8)
        for _ in 0..<400 {
            do {
                _ = try Manifest.read(mutated(good))
            } catch {
                XCTAssertTrue(error is PocketError, "\(error)")
            }
            if let value = try? Json.read(mutated(chat)) { _ = try? History.fromJson(value) }
        }
    }

    /// Where a number stands in a manifest, another one.
    func testNumbersOfManifests() throws {
        let base = Json.write(try Vectors.document("manifests").get("bases").get("static-kv"))
        let parts = base.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let numbers = parts.indices.filter { parts[$0].range(of: #"[0-9]+,?$"#, options: .regularExpression) != nil }
        let others = ["9007199254740991", "0", "-1", "9223372036854775807"]
        for index in numbers.prefix(120) {
            for other in others {
                var lines = parts
                lines[index] = lines[index].replacingOccurrences(
                    of: #"[0-9.]+(,?)$"#, with: other + "$1", options: .regularExpression)
                _ = try? Manifest.read(Array(lines.joined(separator: "\n").utf8))
            }
        }
    }

    func testZips() throws {
        let document = try Vectors.document("install")
        let manifests = try document.get("manifests")
        let names = ["a good zip", "zip64 records", "a deflated entry", "sizes behind the content"]
        let goods = try document.list("cases").filter { names.contains($0["name"]?.text ?? "") }.map {
            try content($0.get("source").get("zip"), manifests)
        }
        XCTAssertEqual(goods.count, names.count)
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("x.zip")
        let store = TestStore(folder: folder.appendingPathComponent("packages"))
        let installer = Installer(
            store: store, platform: Platform(runnerKinds: ["text-llm"], hasCoreMl: false, runtime: "1.5.1"))
        for round in 0..<240 {
            try Data(mutated(goods[round % goods.count])).write(to: file)
            if case .refused(let refusal) = installer.install(.zip(file), onState: { _ in }) {
                XCTAssertNotNil(refusal.key)
                XCTAssertNotEqual(refusal.key, .storageFailed, refusal.text)
            }
        }
        for entry in Files.names(in: store.folder) { XCTAssertFalse(entry.hasPrefix(Staging.prefix), entry) }
    }

    func testTokenizers() throws {
        let text = """
            {"added_tokens": [{"id": 3, "content": "<|x|>"}], "normalizer": {"type": "NFC"},
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
               {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "use_regex": true}]},
             "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "ignore_merges": true, "vocab": {"a": 0, "b": 1, "ab": 2, "aba": 4, "Ġ": 5},
              "merges": ["a b", ["ab", "a"]]}}
            """
        let good = Array(text.utf8)
        let bpe = try Bpe(good)
        XCTAssertEqual(try bpe.encode("aba ab<|x|>b", first: false), [4, 5, 2, 3, 1])
        for _ in 0..<300 {
            guard let other = try? Bpe(mutated(good)) else { continue }
            for id in try other.encode("aba <|x|>12é", first: true) { _ = try? other.piece(id) }
        }
    }
}
