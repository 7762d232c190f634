// A saved chat: one JSON file that survives the end of the process, read strictly.
//
// It holds what was said and for which package (by the sha256 of its manifest), never token ids or a cache: after an
// update of the app, or with another package, the text is still good.
import Foundation

/// A conversation and the package that it was held with.
///
/// The last message may be the user's: the process ended before the reply did.
public struct SavedChat: Equatable, Sendable {
    public let packageId: PackageId
    public let messages: [Message]

    /// - Throws: `PocketError`: a package id that is no sha256, or messages that do not take turns.
    public init(packageId: PackageId, messages: [Message]) throws {
        let digits = Array(packageId.sha256.utf8)
        let isHex = digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        if digits.count != 64 || !isHex {
            throw PocketError(
                "package_id \(Shown.repr(packageId.sha256)) is not a sha256; give 64 lower-case hexadecimal digits")
        }
        try Turns.checkOrder(messages)
        self.packageId = packageId
        self.messages = messages
    }

    /// The user's last message when no reply follows it.
    public var unanswered: String? { messages.last.flatMap { $0.role == "user" ? $0.content : nil } }
}

public enum History {
    public static let schemaVersion = 1
    private static let keys = ["messages", "package_id", "schema_version"]
    private static let messageKeys = ["content", "role"]

    /// The chat as the JSON value that `fromJson` reads.
    public static func toJson(_ chat: SavedChat) -> JsonValue {
        .object([
            JsonEntry("schema_version", .integer(Int64(schemaVersion))),
            JsonEntry("package_id", .string(chat.packageId.sha256)),
            JsonEntry(
                "messages",
                .array(
                    chat.messages.map {
                        .object([JsonEntry("role", .string($0.role)), JsonEntry("content", .string($0.content))])
                    })),
        ])
    }

    /// Reads what `toJson` gave, strictly.
    ///
    /// - Throws: `PocketError`: a newer schema, a missing, unknown or mistyped key, or messages out of order.
    public static func fromJson(_ data: JsonValue) throws -> SavedChat {
        guard case .object(let object) = data else {
            throw PocketError("a saved chat must be a JSON object, not \(kind(data))")
        }
        let version = object["schema_version"] ?? .null
        if case .outsized(let digits) = version, !digits.hasPrefix("-") { throw newer(digits) }
        guard let number = version.int, number >= 1 else {
            throw PocketError("schema_version is \(Shown.repr(version)); it must be a whole number from 1 on")
        }
        if number > schemaVersion { throw newer(String(number)) }
        try checkKeys(object, keys, "a saved chat")
        let (id, messages) = (object["package_id"] ?? .null, object["messages"] ?? .null)
        guard let text = id.text else { throw PocketError("package_id must be a text, not \(kind(id))") }
        guard let items = messages.items else {
            throw PocketError("messages must be a list, not \(kind(messages))")
        }
        return try SavedChat(
            packageId: PackageId(text), messages: items.enumerated().map { try message($0.offset, $0.element) })
    }

    /// Writes the chat beside its place and renames it there, so that a crash leaves the old or the new file whole.
    ///
    /// - Throws: what the file system says; the old file is untouched.
    public static func save(_ chat: SavedChat, to file: URL) throws {
        let name = ".\(file.lastPathComponent).partial-\(UUID().uuidString.prefix(8).lowercased())"
        let partial = file.deletingLastPathComponent().appendingPathComponent(name)
        defer { try? FileManager.default.removeItem(at: partial) }
        try Data().write(to: partial)
        let handle = try FileHandle(forWritingTo: partial)
        try handle.write(contentsOf: Data(Json.write(toJson(chat)).utf8))
        try handle.synchronize()
        try handle.close()
        try Files.rename(partial, to: file)
    }

    /// Reads a saved chat.
    ///
    /// - Throws: `PocketError`: the file is missing, is not JSON, or is no saved chat; the message names it.
    public static func load(_ file: URL) throws -> SavedChat {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder) else {
            throw PocketError("\(file.path) is missing; there is no saved chat of that name")
        }
        if isFolder.boolValue { throw PocketError("\(file.path) is not a file; name one that the chat is saved in") }
        let data: JsonValue
        do {
            data = try Json.read(Array(Data(contentsOf: file)))
        } catch {
            let reason = (error as? JsonError).map(\.reason) ?? error.localizedDescription
            throw PocketError("\(file.path) is not valid JSON (\(reason)); remove it to start a new chat")
        }
        do {
            return try fromJson(data)
        } catch let error as PocketError {
            throw PocketError("\(file.path): \(error.text)")
        }
    }

    private static func newer(_ version: String) -> PocketError {
        PocketError(
            "this chat was saved by a newer version (schema \(version), this program reads \(schemaVersion)); update "
                + "the program")
    }

    private static func message(_ index: Int, _ value: JsonValue) throws -> Message {
        guard case .object(let object) = value else {
            throw PocketError("message \(index) must be a JSON object, not \(kind(value))")
        }
        try checkKeys(object, messageKeys, "message \(index)")
        for key in ["role", "content"] {
            let given = object[key] ?? .null
            if given.text == nil { throw PocketError("message \(index): \(key) must be a text, not \(kind(given))") }
        }
        return Message(role: object["role"]?.text ?? "", content: object["content"]?.text ?? "")
    }

    private static func checkKeys(_ object: JsonObject, _ known: [String], _ what: String) throws {
        let missing = known.filter { object[$0] == nil }
        if !missing.isEmpty { throw PocketError("\(what) lacks \(Shown.sorted(missing))") }
        let unknown = object.keys.filter { !known.contains($0) }
        if let first = unknown.min(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            throw PocketError("\(what) has the unknown key \(Shown.repr(first)); known: \(Shown.sorted(known))")
        }
    }

    private static func kind(_ value: JsonValue) -> String {
        switch value {
        case .null: return "null"
        case .bool: return "true or false"
        case .integer, .outsized, .double: return "a number"
        case .string, .broken: return "a text"
        case .array: return "a list"
        case .object: return "an object"
        }
    }
}
