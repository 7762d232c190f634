// Chats over an engine that follows a script, and saved chats, over the vectors.
import Foundation
import XCTest

@testable import PocketCore

/// An engine that follows a script; it writes down what it is asked for. See tests/vectors/session_cases.py.
private final class ScriptedEngine: Engine {
    private let specials: [String]
    private var scripts: [JsonValue]
    private var isStopping = false
    private var lostStops = 0
    var cancel: () -> Void = {}
    var log: [JsonValue] = []
    var position = 0
    let countIsExact = true

    init(specials: [String], scripts: [JsonValue]) {
        self.specials = specials
        self.scripts = scripts
    }

    func count(_ text: String, first: Bool) -> Int {
        var rest = Array(text.utf8)[...]
        var number = first ? 1 : 0
        while !rest.isEmpty {
            let special = specials.first { rest.starts(with: $0.utf8) }
            rest = rest.dropFirst(special?.utf8.count ?? 1)
            number += 1
        }
        return number
    }

    func prefill(_ text: String, first: Bool) {
        log.append(.record(["op": .string("prefill"), "text": .string(text), "first": .bool(first)]))
        position += count(text, first: first)
    }

    func stream(_ text: String, first: Bool, maxNewTokens: Int, onPiece: (Piece) -> Void) throws {
        log.append(
            .record([
                "op": .string("stream"), "text": .string(text), "first": .bool(first),
                "max_new_tokens": .number(maxNewTokens),
            ]))
        let script = scripts.removeFirst()
        (isStopping, lostStops) = (false, try script.int("lost_stops"))
        if try script.bool("cancel_in_prompt") {
            cancel()
            if isStopping { return }
        }
        let start = position + count(text, first: first)
        for (index, token) in try script.list("tokens").prefix(maxNewTokens).enumerated() {
            if index == script["fail_at"]?.int { throw PocketError("the device is gone") }
            position = start + index
            let isStop = try token.bool("is_stop")
            onPiece(Piece(data: bytes(try token.string("hex")), isStop: isStop))
            if isStop || isStopping { return }
        }
    }

    func stop() {
        if lostStops > 0 { lostStops -= 1 } else { isStopping = true }
    }

    func reset() {
        log.append(.record(["op": .string("reset")]))
        position = 0
    }
}

final class SessionTests: XCTestCase {
    func testSession() throws {
        let packages = try Vectors.document("session").get("packages")
        try Vectors.each("session") { each in
            let package = try packages.get(each.string("template"))
            let expected = try each.get("expected")
            let turns = try turns(package)
            let engine = ScriptedEngine(specials: turns.specials, scripts: try each.list("scripts"))
            var now = 0.0
            let found = answer {
                let session = try Session(
                    engine: engine, turns: turns, context: context(each.get("context")), system: each["system"]?.text,
                    clock: {
                        now += 0.25
                        return now
                    })
                engine.cancel = { session.cancel() }
                return .record(["steps": .array(try each.list("steps").map { try step(session, engine, $0) })])
            }
            try expect(found, expected)
        }
    }

    private func step(_ session: Session, _ engine: ScriptedEngine, _ step: JsonValue) throws -> JsonValue {
        engine.log = []
        var entries: [JsonEntry] = []
        var texts: [String] = []
        let call = try step.string("call")
        do {
            if call == "restore" {
                entries.append(JsonEntry("kept", json(try session.restore(messages(step.get("messages"))))))
            } else {
                let wanted = try step.int("max_new_tokens")
                let onText: (String) -> Void = { text in
                    texts.append(text)
                    if texts.count == step["cancel_after"]?.int { session.cancel() }
                }
                if call == "send" {
                    try session.send(step.string("text"), maxNewTokens: wanted, onText: onText)
                } else {
                    try session.regenerate(maxNewTokens: wanted, onText: onText)
                }
                entries.append(JsonEntry("reply", spelled(session.reply)))
            }
        } catch let error as PocketError {
            entries.append(JsonEntry("error", .string(error.text)))
        }
        if call != "restore" { entries.append(JsonEntry("texts", .texts(texts))) }
        return .object(
            entries + [
                JsonEntry("messages", json(session.messages)), JsonEntry("position", .number(session.position)),
                JsonEntry("mark", json(try session.mark())), JsonEntry("engine", .array(engine.log)),
            ])
    }

    private func spelled(_ reply: Reply?) -> JsonValue {
        guard let reply else { return .null }
        return .record([
            "text": .string(reply.text), "end": .string(reply.end.rawValue),
            "prompt_tokens": .number(reply.promptTokens), "new_tokens": .number(reply.newTokens),
            "time_to_first_token_s": .real(reply.timeToFirstTokenS),
            "decode_tokens_per_s": .real(reply.decodeTokensPerS), "note": .string(reply.note),
        ])
    }

    func testHistory() throws {
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("chat.json")
        try Vectors.each("history") { each in
            let expected = try each.get("expected")
            switch try each.string("call") {
            case "from_json":
                try expect(answer { spelled(try History.fromJson(each.get("data"))) }, expected)
            case "load":
                try Data(each.string("text").utf8).write(to: file)
                let found = answer { spelled(try History.load(file)) }
                if expected["is_json"] == .bool(false) {
                    let text = found["error"]?.text ?? ""
                    if !text.contains("is not valid JSON") { throw Mismatch(description: Json.write(found)) }
                } else {
                    try expect(withoutPlace(found, file), expected)
                }
            default:
                let saved = try SavedChat(
                    packageId: PackageId(each.string("package_id")), messages: messages(each.get("messages")))
                try History.save(saved, to: file)
                try expect(String(decoding: Data(contentsOf: file), as: UTF8.self), expected.string("text"))
                XCTAssertEqual(try History.load(file), saved)
                XCTAssertEqual(Files.names(in: folder), ["chat.json"])
            }
        }
    }

    private func spelled(_ saved: SavedChat) -> JsonValue {
        .record([
            "package_id": .string(saved.packageId.sha256), "messages": json(saved.messages),
            "unanswered": saved.unanswered.map { .string($0) } ?? .null,
        ])
    }

    /// A sentence without the file that it names first.
    private func withoutPlace(_ found: JsonValue, _ file: URL) -> JsonValue {
        guard let text = found["error"]?.text else { return found }
        let prefix = "\(file.path): "
        return .record(["error": .string(text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text)])
    }

    func testAMissingHistoryAndAFolderAreRefused() throws {
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        XCTAssertThrowsError(try History.load(folder.appendingPathComponent("none.json"))) {
            XCTAssertTrue("\($0)".contains("is missing; there is no saved chat"))
        }
        XCTAssertThrowsError(try History.load(folder)) { XCTAssertTrue("\($0)".contains("is not a file")) }
    }
}

/// A fresh folder.
func scratch() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pocketcore-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}
