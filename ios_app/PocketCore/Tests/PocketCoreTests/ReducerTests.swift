// Every state with every event, over the vectors.
import XCTest

@testable import PocketCore

final class ReducerTests: XCTestCase {
    func testReducer() throws {
        let document = try Vectors.document("reducer")
        let (states, events) = (try document.get("states"), try document.get("events"))
        try Vectors.each("reducer") { each in
            let before = try state(states.get(each.string("state")))
            let found = ChatReducer.reduce(before, try event(events.get(each.string("event"))))
            let expected = try each.get("expected")
            if expected["is_unchanged"] != nil {
                if found.state != before || !found.effects.isEmpty { throw Mismatch(description: "\(found)") }
                return
            }
            let wanted = try state(expected.get("state"))
            if found.state != wanted { throw Mismatch(description: "\(found.state) is not \(wanted)") }
            let effects = try expected.list("effects").map(effect)
            if found.effects != effects { throw Mismatch(description: "\(found.effects) is not \(effects)") }
        }
    }

    private func state(_ value: JsonValue) throws -> ChatState {
        let chat = try value["chat"].map(chat)
        func shown() throws -> Chat {
            guard let chat else { throw Mismatch(description: "no chat") }
            return chat
        }
        switch try value.string("state") {
        case "empty": return .empty
        case "loading": return .loading(try id(value))
        case "loadFailed": return .loadFailed(try id(value), try refusal(value.get("refusal")))
        case "idle": return .idle(try shown())
        case "prefilling": return .prefilling(try shown(), userText: try value.string("userText"))
        case "replying":
            return .replying(try shown(), userText: try value.string("userText"), soFar: try value.string("soFar"))
        case "cancelling":
            return .cancelling(try shown(), userText: try value.string("userText"), soFar: try value.string("soFar"))
        case "restoring": return .restoring(try shown())
        default:
            guard let reason = UnloadReason(rawValue: try value.string("reason")) else {
                throw Mismatch(description: "no reason")
            }
            return .unloaded(try shown(), reason)
        }
    }

    private func event(_ value: JsonValue) throws -> ChatEvent {
        switch try value.string("event") {
        case "packageOpened": return .packageOpened(try id(value))
        case "packageClosed": return .packageClosed
        case "loaded":
            return .loaded(
                try id(value), messages: try messages(value.get("messages")),
                settings: try settings(value.get("settings")))
        case "loadFailed": return .loadFailed(try id(value), try refusal(value.get("refusal")))
        case "sent": return .sent(try value.string("text"))
        case "textArrived": return .textArrived(try value.string("text"))
        case "replyEnded":
            return .replyEnded(
                messages: try messages(value.get("messages")), reply: try reply(value.get("reply")),
                mark: try mark(value.get("mark")), statistics: try statistics(value["statistics"]))
        case "replyFailed":
            return .replyFailed(
                messages: try messages(value.get("messages")), refusal: try refusal(value.get("refusal")))
        case "stopTapped": return .stopTapped
        case "regenerateTapped": return .regenerateTapped
        case "newChatTapped": return .newChatTapped
        case "settingsChanged": return .settingsChanged(try settings(value.get("settings")))
        case "restored":
            return .restored(
                messages: try messages(value.get("messages")), mark: try mark(value.get("mark")),
                note: try value.string("note"))
        case "memoryLow": return .memoryLow
        case "wentToBackground": return .wentToBackground
        case "cameToForeground": return .cameToForeground
        default: return .thermalCritical
        }
    }

    private func effect(_ value: JsonValue) throws -> ChatEffect {
        switch try value.string("effect") {
        case "load": return .load(try id(value))
        case "unload": return .unload
        case "send": return .send(try value.string("text"))
        case "regenerate": return .regenerate
        case "cancel": return .cancel
        case "restore": return .restore(try messages(value.get("messages")))
        case "save": return .save(try id(value), try messages(value.get("messages")))
        default: return .reset
        }
    }

    private func id(_ value: JsonValue) throws -> PackageId { PackageId(try value.string("package")) }

    private func chat(_ value: JsonValue) throws -> Chat {
        Chat(
            packageId: try id(value), messages: try messages(value.get("messages")), mark: try mark(value.get("mark")),
            note: try value.string("note"), statistics: try statistics(value["statistics"]),
            refusal: try value["refusal"].flatMap { $0 == .null ? nil : try refusal($0) },
            settings: try settings(value.get("settings")))
    }

    private func settings(_ value: JsonValue) throws -> ChatSettings {
        ChatSettings(
            system: value["system"]?.text, temperature: try value.double("temperature"),
            budget: try value.int("budget"))
    }

    private func mark(_ value: JsonValue) throws -> Mark {
        Mark(
            firstVisiblePosition: try value.int("first_visible_position"),
            firstVisibleTurn: try value.int("first_visible_turn"), isPartial: try value.bool("is_partial"))
    }

    private func refusal(_ value: JsonValue) throws -> Refusal {
        Refusal(key: value["key"]?.text.flatMap(SentenceKey.init(rawValue:)), text: try value.string("text"))
    }

    private func reply(_ value: JsonValue) throws -> Reply {
        guard let end = Ending(rawValue: try value.string("end")) else { throw Mismatch(description: "no ending") }
        return Reply(
            text: try value.string("text"), end: end, promptTokens: try value.int("prompt_tokens"),
            newTokens: try value.int("new_tokens"), timeToFirstTokenS: value["time_to_first_token_s"]?.number,
            decodeTokensPerS: value["decode_tokens_per_s"]?.number, note: try value.string("note"))
    }

    private func statistics(_ value: JsonValue?) throws -> Statistics? {
        guard let value, value != .null else { return nil }
        return Statistics(
            promptTokens: try value.int("prompt_tokens"), newTokens: try value.int("new_tokens"),
            timeToFirstTokenS: value["time_to_first_token_s"]?.number,
            decodeTokensPerS: value["decode_tokens_per_s"]?.number,
            prefillTokensPerS: value["prefill_tokens_per_s"]?.number)
    }
}
