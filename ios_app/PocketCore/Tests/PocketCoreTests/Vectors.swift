// The vectors of tests/vectors/: the same files that Python and Kotlin read.
import Foundation
import XCTest

@testable import PocketCore

enum Vectors {
    /// The repository's root, from this file's place.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    static func document(_ name: String) throws -> JsonValue {
        let file = root.appendingPathComponent("tests/vectors/\(name).json")
        return try Json.read(Array(Data(contentsOf: file)))
    }

    /// Runs a check on every case; a failure names the case.
    static func each(_ name: String, _ check: (JsonValue) throws -> Void) throws {
        let cases = try document(name)["cases"]?.items ?? []
        XCTAssertFalse(cases.isEmpty, name)
        for each in cases {
            let title = each["name"]?.text ?? "?"
            do {
                try check(each)
            } catch {
                XCTFail("\(name): \(title): \(error)")
            }
        }
    }
}

/// What went wrong in a case, as the test's message.
struct Mismatch: Error, CustomStringConvertible {
    let description: String
}

/// Compares by code point, where JSON values are compared at all.
func expect(_ found: JsonValue, _ wanted: JsonValue?) throws {
    let (left, right) = (Json.write(found), Json.write(wanted ?? .null))
    if !left.utf8.elementsEqual(right.utf8) { throw Mismatch(description: "\(left) is not \(right)") }
}

func expect(_ found: String, _ wanted: String?) throws {
    try expect(.string(found), wanted.map { .string($0) })
}

func expect(_ found: Int?, _ wanted: JsonValue?) throws {
    try expect(found.map { .integer(Int64($0)) } ?? .null, wanted)
}

/// The answer of a call, or its error as the vectors spell it.
func answer(_ call: () throws -> JsonValue) -> JsonValue {
    do {
        return try call()
    } catch let error as PocketError {
        return .object([JsonEntry("error", .string(error.text))])
    } catch {
        return .object([JsonEntry("error", .string("\(error)"))])
    }
}

extension JsonValue {
    /// A member that must be there.
    func get(_ key: String) throws -> JsonValue {
        guard let value = self[key] else { throw Mismatch(description: "no \(key) in \(Json.write(self))") }
        return value
    }

    func int(_ key: String) throws -> Int {
        guard let value = try get(key).int else { throw Mismatch(description: "\(key) is no integer") }
        return value
    }

    func double(_ key: String) throws -> Double {
        guard let value = try get(key).number else { throw Mismatch(description: "\(key) is no number") }
        return value
    }

    func string(_ key: String) throws -> String {
        guard let value = try get(key).text else { throw Mismatch(description: "\(key) is no text") }
        return value
    }

    func bool(_ key: String) throws -> Bool {
        guard let value = try get(key).bool else { throw Mismatch(description: "\(key) is no flag") }
        return value
    }

    func list(_ key: String) throws -> [JsonValue] {
        guard let value = try get(key).items else { throw Mismatch(description: "\(key) is no list") }
        return value
    }

    func strings(_ key: String) throws -> [String] { try list(key).compactMap(\.text) }

    func ints(_ key: String) throws -> [Int] { try list(key).compactMap(\.int) }

    static func texts(_ values: [String]) -> JsonValue { .array(values.map { .string($0) }) }

    static func numbers(_ values: [Int]) -> JsonValue { .array(values.map { .integer(Int64($0)) }) }

    static func number(_ value: Int?) -> JsonValue { value.map { .integer(Int64($0)) } ?? .null }

    static func real(_ value: Double?) -> JsonValue { value.map { .double($0) } ?? .null }

    /// The value with doubles that are whole written as doubles, so that 1 and 1.0 compare.
    static func record(_ members: KeyValuePairs<String, JsonValue>) -> JsonValue {
        .object(members.map { JsonEntry($0.key, $0.value) })
    }
}

/// The bytes of a hexadecimal text.
func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex.utf8)
    return stride(from: 0, to: digits.count, by: 2).compactMap {
        UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
    }
}

func messages(_ value: JsonValue) throws -> [Message] {
    try (value.items ?? []).map { Message(role: try $0.string("role"), content: try $0.string("content")) }
}

func json(_ messages: [Message]) -> JsonValue {
    .array(messages.map { .record(["role": .string($0.role), "content": .string($0.content)]) })
}

func context(_ value: JsonValue) throws -> Context {
    guard let kind = Context.Kind(rawValue: try value.string("kind")) else {
        throw Mismatch(description: "an unknown kind of context")
    }
    return try Context(kind: kind, tokens: value.int("tokens"))
}

func json(_ mark: Mark) -> JsonValue {
    .record([
        "first_visible_position": .number(mark.firstVisiblePosition),
        "first_visible_turn": .number(mark.firstVisibleTurn), "is_partial": .bool(mark.isPartial),
    ])
}
