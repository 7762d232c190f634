"""The reducer vectors: every state with every event, and stories of many events, by reducer_model.py."""

from tests.vectors.reducer_model import NO_MARK, Result, new_chat, reduce
from tests.vectors.sentence_cases import refusal
from tests.vectors.text_cases import Case, chat

PACKAGE, OTHER = "ab" * 32, "cd" * 32
SETTINGS: Case = {"system": None, "temperature": 0.0, "budget": 512}
STATISTICS: Case = {
    "prompt_tokens": 12,
    "new_tokens": 5,
    "time_to_first_token_s": 0.25,
    "decode_tokens_per_s": 20.0,
    "prefill_tokens_per_s": 48.0,
}
MARK: Case = {"first_visible_position": 40, "first_visible_turn": 1, "is_partial": True}
ONE = chat("Hi", "Hello.")
TWO = chat("Hi", "Hello.", "How are you?", "Fine.")
MEMORY = refusal("engineMemory", code="33")


def _chat(messages: list[Case], *, system: str | None = None, **more: object) -> Case:
    return new_chat(PACKAGE, SETTINGS | {"system": system}) | {"messages": messages} | more


def _states() -> dict[str, Case]:
    said, fresh = _chat(ONE, statistics=STATISTICS), _chat([])
    with_system = _chat(chat("Hi", "Hello.", system="Be brief."), system="Be brief.")
    waiting = _chat([*ONE, *chat("And?")], refusal=MEMORY, note="a note")
    return {
        "empty": {"state": "empty"},
        "loading": {"state": "loading", "package": PACKAGE},
        "load failed": {"state": "loadFailed", "package": PACKAGE, "refusal": MEMORY},
        "idle, nothing said": {"state": "idle", "chat": fresh},
        "idle, one turn": {"state": "idle", "chat": said},
        "idle, a system message": {"state": "idle", "chat": with_system},
        "idle, a system message alone": {
            "state": "idle",
            "chat": _chat(chat(system="Be brief."), system="Be brief."),
        },
        "idle, unanswered": {"state": "idle", "chat": waiting},
        "idle, unanswered at once": {"state": "idle", "chat": _chat(chat("Hi"))},
        "prefilling": {"state": "prefilling", "chat": said, "userText": "How are you?"},
        "replying": {"state": "replying", "chat": said, "userText": "How are you?", "soFar": "Fi"},
        "cancelling in the prompt": {"state": "cancelling", "chat": said, "userText": "How are you?", "soFar": ""},
        "cancelling": {"state": "cancelling", "chat": said, "userText": "How are you?", "soFar": "Fi"},
        "restoring": {"state": "restoring", "chat": said},
        "restoring, unanswered": {"state": "restoring", "chat": _chat([*ONE, *chat("And?")])},
        "unloaded for memory": {"state": "unloaded", "chat": said, "reason": "memory"},
        "unloaded in the background": {"state": "unloaded", "chat": waiting, "reason": "background"},
        "unloaded for heat": {"state": "unloaded", "chat": with_system, "reason": "thermal"},
    }


def _reply(text: str, end: str, new_tokens: int, note: str = "") -> Case:
    return {
        "text": text,
        "end": end,
        "prompt_tokens": 12,
        "new_tokens": new_tokens,
        "time_to_first_token_s": 0.25 if new_tokens else None,
        "decode_tokens_per_s": 20.0 if new_tokens > 1 else None,
        "note": note,
    }


def _ended(messages: list[Case], reply: Case) -> Case:
    statistics = STATISTICS if reply["new_tokens"] else None
    return {"event": "replyEnded", "messages": messages, "reply": reply, "mark": MARK, "statistics": statistics}


def _events() -> dict[str, Case]:
    context = {"key": None, "text": "The chat is full: start a new chat."}
    return {
        "package opened": {"event": "packageOpened", "package": PACKAGE},
        "another package opened": {"event": "packageOpened", "package": OTHER},
        "package closed": {"event": "packageClosed"},
        "loaded, no chat": {"event": "loaded", "package": PACKAGE, "messages": [], "settings": SETTINGS},
        "loaded, no chat, a system text": {
            "event": "loaded",
            "package": PACKAGE,
            "messages": [],
            "settings": SETTINGS | {"system": "Rhyme."},
        },
        "loaded, a chat": {
            "event": "loaded",
            "package": PACKAGE,
            "messages": chat("Hi", "Hello.", "And?", system="Be brief."),
            "settings": SETTINGS | {"system": "Rhyme.", "temperature": 0.5},
        },
        "loaded, a question alone": {
            "event": "loaded",
            "package": PACKAGE,
            "messages": chat("Hi"),
            "settings": SETTINGS,
        },
        "another package loaded": {"event": "loaded", "package": OTHER, "messages": [], "settings": SETTINGS},
        "load failed": {"event": "loadFailed", "package": PACKAGE, "refusal": MEMORY},
        "another load failed": {"event": "loadFailed", "package": OTHER, "refusal": MEMORY},
        "sent": {"event": "sent", "text": "What now?"},
        "text arrived": {"event": "textArrived", "text": "ne. 😀"},
        "empty text arrived": {"event": "textArrived", "text": ""},
        "reply ended": _ended(TWO, _reply("Fine.", "stop", 5, "1 older message no longer fits")),
        "reply cancelled in the prompt": _ended(ONE, _reply("", "cancelled", 0)),
        "reply failed": {"event": "replyFailed", "messages": ONE, "refusal": context},
        "stop tapped": {"event": "stopTapped"},
        "regenerate tapped": {"event": "regenerateTapped"},
        "new chat tapped": {"event": "newChatTapped"},
        "temperature changed": {"event": "settingsChanged", "settings": SETTINGS | {"temperature": 0.75}},
        "system text changed": {"event": "settingsChanged", "settings": SETTINGS | {"system": "Rhyme."}},
        "restored": {"event": "restored", "messages": ONE, "mark": NO_MARK, "note": "2 older messages no longer fit"},
        "memory low": {"event": "memoryLow"},
        "went to background": {"event": "wentToBackground"},
        "came to foreground": {"event": "cameToForeground"},
        "thermal critical": {"event": "thermalCritical"},
    }


def _expected(before: Case, result: Result) -> Case:
    state, effects = result
    if state == before and not effects:
        return {"is_unchanged": True}
    return {"state": state, "effects": effects}


def reducer_cases() -> list[Case]:
    return [
        {
            "name": f"{state}: {event}",
            "state": state,
            "event": event,
            "expected": _expected(before, reduce(before, given)),
        }
        for state, before in _states().items()
        for event, given in _events().items()
    ]


def reducer_tables() -> Case:
    """The states and events that the cases name."""
    return {"states": _states(), "events": _events()}
