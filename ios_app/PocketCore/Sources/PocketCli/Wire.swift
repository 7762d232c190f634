// The core's states and events as the JSON of the vectors (reducer.json, install.json, library.json).
import Foundation
import PocketCore

enum Wire {
    /// One line of JSON.
    static func line(_ value: JsonValue) -> String {
        // A line feed inside a text is written as an escape, so what is left are line breaks of the layout.
        Json.write(value).split(separator: "\n").map { $0.drop { $0 == " " } }.joined() + "\n"
    }

    static func number(_ value: Int) -> JsonValue { .integer(Int64(value)) }

    static func texts(_ values: [String]) -> JsonValue { .array(values.map { .string($0) }) }

    static func record(_ members: KeyValuePairs<String, JsonValue>) -> JsonValue {
        .object(members.map { JsonEntry($0.key, $0.value) })
    }

    static func kind(_ state: ChatState) -> String {
        switch state {
        case .empty: return "empty"
        case .loading: return "loading"
        case .loadFailed: return "loadFailed"
        case .idle: return "idle"
        case .prefilling: return "prefilling"
        case .replying: return "replying"
        case .cancelling: return "cancelling"
        case .restoring: return "restoring"
        case .unloaded: return "unloaded"
        }
    }

    static func state(_ state: ChatState) -> JsonValue {
        var entries = [JsonEntry("state", .string(kind(state)))]
        if let chat = state.chat { entries.append(JsonEntry("chat", self.chat(chat))) }
        switch state {
        case .loading(let id): entries.append(JsonEntry("package", .string(id.sha256)))
        case .loadFailed(let id, let refusal):
            entries.append(JsonEntry("package", .string(id.sha256)))
            entries.append(JsonEntry("refusal", self.refusal(refusal)))
        case .prefilling(_, let userText): entries.append(JsonEntry("userText", .string(userText)))
        case .replying(_, let userText, let soFar), .cancelling(_, let userText, let soFar):
            entries.append(JsonEntry("userText", .string(userText)))
            entries.append(JsonEntry("soFar", .string(soFar)))
        case .unloaded(_, let reason): entries.append(JsonEntry("reason", .string(reason.rawValue)))
        case .empty, .idle, .restoring: break
        }
        return .object(entries)
    }

    private static func chat(_ chat: Chat) -> JsonValue {
        record([
            "package": .string(chat.packageId.sha256), "messages": messages(chat.messages),
            "mark": record([
                "first_visible_position": number(chat.mark.firstVisiblePosition),
                "first_visible_turn": number(chat.mark.firstVisibleTurn), "is_partial": .bool(chat.mark.isPartial),
            ]),
            "note": .string(chat.note), "statistics": chat.statistics.map(statistics) ?? .null,
            "refusal": chat.refusal.map(refusal) ?? .null,
            "settings": record([
                "system": chat.settings.system.map { .string($0) } ?? .null,
                "temperature": .double(chat.settings.temperature), "budget": number(chat.settings.budget),
            ]),
        ])
    }

    static func messages(_ messages: [Message]) -> JsonValue {
        .array(messages.map { record(["role": .string($0.role), "content": .string($0.content)]) })
    }

    static func refusal(_ refusal: Refusal) -> JsonValue {
        record(["key": refusal.key.map { .string($0.rawValue) } ?? .null, "text": .string(refusal.text)])
    }

    private static func statistics(_ figures: Statistics) -> JsonValue {
        func real(_ value: Double?) -> JsonValue { value.map { .double($0) } ?? .null }
        return record([
            "prompt_tokens": number(figures.promptTokens), "new_tokens": number(figures.newTokens),
            "time_to_first_token_s": real(figures.timeToFirstTokenS),
            "decode_tokens_per_s": real(figures.decodeTokensPerS),
            "prefill_tokens_per_s": real(figures.prefillTokensPerS),
        ])
    }

    static func package(_ package: InstalledPackage) -> JsonValue {
        let manifest = package.manifest
        return record([
            "id": .string(package.id.sha256), "folder": .string(package.id.short), "name": .string(package.name),
            "target": .string(manifest.target), "bytes": .integer(package.bytes),
            "context": record([
                "kind": .string(manifest.context.kind.rawValue), "tokens": number(manifest.context.tokens),
            ]),
            "licences": texts(manifest.files.filter { $0.role == .licence }.map(\.path)),
            "recipe": .string(manifest.recipe.name), "parameters": number(manifest.model.parameters),
            "source_sha256": .string(manifest.origin.sourceSha256),
        ])
    }

    /// The events that a user or the system sends.
    static func event(_ value: JsonValue) throws -> ChatEvent {
        func id() -> PackageId { PackageId(value["package"]?.text ?? "") }
        switch value["event"]?.text {
        case "packageOpened": return .packageOpened(id())
        case "packageClosed": return .packageClosed
        case "sent": return .sent(value["text"]?.text ?? "")
        case "stopTapped": return .stopTapped
        case "regenerateTapped": return .regenerateTapped
        case "newChatTapped": return .newChatTapped
        case "settingsChanged":
            let settings = value["settings"] ?? .null
            return .settingsChanged(
                ChatSettings(
                    system: settings["system"]?.text, temperature: settings["temperature"]?.number ?? 0,
                    budget: settings["budget"]?.int ?? defaultNewTokens))
        case "memoryLow": return .memoryLow
        case "wentToBackground": return .wentToBackground
        case "cameToForeground": return .cameToForeground
        case "thermalCritical": return .thermalCritical
        default: throw Misuse(text: "\(value["event"]?.text ?? "no event") is no event of a user or the system")
        }
    }

    static func about(_ value: JsonValue) -> BenchmarkAbout {
        let (app, device) = (value["app"] ?? .null, value["device"] ?? .null)
        return BenchmarkAbout(
            appName: app["name"]?.text ?? "", appVersion: app["version"]?.text ?? "",
            deviceModel: device["model"]?.text ?? "", system: device["system"]?.text ?? "",
            memoryBytes: Int64(device["memory_bytes"]?.int ?? 0), threads: device["threads"]?.int,
            runtime: value["runtime"]?.text ?? "")
    }
}
