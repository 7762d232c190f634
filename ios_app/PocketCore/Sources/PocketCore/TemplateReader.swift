// Reads a chat template from JSON strictly, with the sentences of chat/template.py.

extension Template {
    /// - Throws: `PocketError`: a missing or unknown key, or a value of another type; the message names it.
    public static func fromJson(_ data: JsonValue) throws -> Template {
        let kind = data["kind"] ?? .null
        if kind.text == "completion" {
            try expect(data, ["kind": ["str"], "reason": ["str"]], "the chat template")
            return .completion(reason: data["reason"]?.text ?? "")
        }
        if kind.text != "chat" {
            throw PocketError("a chat template's kind is \(Shown.repr(kind)); known: 'chat', 'completion'")
        }
        try expect(
            data,
            [
                "kind": ["str"], "start": ["str"], "roles": ["dict"], "default_system": ["str", "NoneType"],
                "generation_prompt": ["str"], "end_of_turn": ["list"], "alternates": ["bool"],
            ], "the chat template")
        let ends = data["end_of_turn"]?.items ?? []
        let roles = try readRoles(data["roles"] ?? .null)
        if ends.contains(where: { ($0.text ?? "").isEmpty }) {
            throw PocketError("the chat template's end_of_turn must be a list of texts that are not empty")
        }
        return .chat(
            try ChatTemplate(
                start: data["start"]?.text ?? "", roles: roles, defaultSystem: data["default_system"]?.text,
                generationPrompt: data["generation_prompt"]?.text ?? "", endOfTurn: ends.compactMap(\.text),
                alternates: data["alternates"]?.bool ?? false))
    }

    private static func readRoles(_ data: JsonValue) throws -> [String: Role] {
        guard case .object(let object) = data else { return [:] }
        var roles: [String: Role] = [:]
        for entry in object.entries {
            try expect(
                entry.value, ["prefix": ["str"], "suffix": ["str"], "trim": ["bool"]],
                "role \(Shown.repr(entry.key)) of the chat template")
            roles[entry.key] = Role(
                prefix: entry.value["prefix"]?.text ?? "", suffix: entry.value["suffix"]?.text ?? "",
                trim: entry.value["trim"]?.bool ?? false)
        }
        return roles
    }

    /// - Parameter types: for each key the names of the types that may stand there.
    private static func expect(_ data: JsonValue, _ types: [String: [String]], _ what: String) throws {
        guard case .object(let object) = data else {
            throw PocketError("\(what) must be an object, not \(Shown.typeName(data))")
        }
        let wrong = Set(object.keys).symmetricDifference(types.keys)
        if !wrong.isEmpty {
            throw PocketError(
                "\(what) has the keys \(Shown.sorted(object.keys)); it must have \(Shown.sorted(Array(types.keys))) "
                    + "(differing: \(Shown.sorted(Array(wrong))))")
        }
        for entry in object.entries {
            let name = Shown.typeName(entry.value)
            if types[entry.key]?.contains(name) != true {
                throw PocketError("\(what): \(entry.key) is a \(name), which is not allowed there")
            }
        }
    }
}
