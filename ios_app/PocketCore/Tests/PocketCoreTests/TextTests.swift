// Joined bytes, stop texts, typed markers, templates and turns, over the vectors.
import XCTest

@testable import PocketCore

final class TextTests: XCTestCase {
    func testUtf8() throws {
        try Vectors.each("utf8") { each in
            var joiner = Utf8Joiner()
            let outputs = try each.strings("pieces_hex").map { joiner.push(bytes($0)) }
            try expect(.record(["outputs": .texts(outputs), "flush": .string(joiner.flush())]), each["expected"])
        }
    }

    func testStopFilter() throws {
        try Vectors.each("stop_filter") { each in
            let found = answer {
                var filter = try StopFilter(each.strings("stop_texts"))
                let outputs = try each.strings("pieces").map { filter.push($0) }
                let flush = filter.flush()
                return .record([
                    "outputs": .texts(outputs), "flush": .string(flush), "is_stopped": .bool(filter.isStopped),
                ])
            }
            try expect(found, each["expected"])
        }
    }

    func testTyped() throws {
        try Vectors.each("typed") { each in
            let found = answer {
                .record(["text": .string(try Typed.neutralise(each.string("text"), each.strings("specials")))])
            }
            try expect(found, each["expected"])
        }
    }

    func testTenThousandCharactersPastedWithManySpecials() throws {
        let specials = (0..<2048).map { "<|reserved_special_token_\($0)|>" }
        let text = String(repeating: "lorem <|ipsum|> 😀 ", count: 600)
        XCTAssertEqual(try Typed.neutralise(text, specials), text)
        let found = try Typed.neutralise(text + specials[7], specials)
        XCTAssertTrue(found.unicodeScalars.contains("\u{200B}"))
    }

    func testTemplate() throws {
        try Vectors.each("template") { each in
            let found = answer {
                guard case .chat(let chat) = try Template.fromJson(each.get("template")) else {
                    return .record(["text": .null])
                }
                let text = try chat.render(
                    messages(each.get("messages")), addGenerationPrompt: each.bool("add_generation_prompt"),
                    specials: each["specials"]?.items?.compactMap(\.text))
                return .record(["text": .string(text)])
            }
            try expect(found, each["expected"])
        }
    }

    func testTurns() throws {
        let packages = try Vectors.document("turns").get("packages")
        try Vectors.each("turns") { each in
            let turns = try turns(packages.get(each.string("template")))
            let found = answer {
                let said = try each["messages"].map(messages) ?? []
                switch try each.string("call") {
                case "stop_texts": return .record(["texts": .texts(turns.stopTexts)])
                case "parts": return .record(["texts": .texts(try turns.parts(said))])
                case "first_text": return .record(["text": .string(try turns.firstText(said))])
                case "restored_text": return .record(["text": .string(try turns.restoredText(said))])
                case "regenerate":
                    return .record(["text": .string(try turns.firstText(Turns.toRegenerate(said)))])
                default:
                    let text = try turns.nextText(each.string("user_text"), lost: bytes(each.string("lost_hex")))
                    return .record(["text": .string(text)])
                }
            }
            try expect(found, each["expected"])
        }
    }
}

/// The turns of a package of the vectors.
func turns(_ package: JsonValue) throws -> Turns {
    let specials = try package.list("special_tokens").map { (id: try $0.int("id"), text: try $0.string("text")) }
    return Turns(
        template: try Template.fromJson(package.get("template")), specialTokens: specials,
        stopIds: try package.ints("stop_ids"))
}
