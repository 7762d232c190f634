"""The chat's states and what each event makes of them: the reference that ChatReducer repeats in Kotlin and Swift.

A state, an event or an effect is a JSON object with its kind under "state", "event" or "effect". Pure: nothing here
runs a model or a disk. An event that does not apply leaves the state as it is and has no effect.
"""

from collections.abc import Callable
from typing import Any

from tests.vectors.text_cases import Case

Result = tuple[Case, list[Case]]
NO_MARK: Case = {"first_visible_position": 0, "first_visible_turn": 0, "is_partial": False}
BUSY = ("prefilling", "replying", "cancelling")
REASONS = {"memoryLow": "memory", "wentToBackground": "background", "thermalCritical": "thermal"}


def reduce(state: Case, event: Case) -> Result:
    """The state after an event, and what is to be done, in order."""
    handler = _HANDLERS.get(event["event"])
    result = None if handler is None else handler(state, event)
    return (state, []) if result is None else result


def user(text: str) -> Case:
    return {"role": "user", "content": text}


def whole_turns(messages: list[Case]) -> list[Case]:
    """Without an unanswered last message."""
    return messages[:-1] if messages and messages[-1]["role"] == "user" else messages


def new_chat(package: str, settings: Case) -> Case:
    """A chat in which nothing was said."""
    return {
        "package": package,
        "messages": _system(settings["system"]),
        "mark": NO_MARK,
        "note": "",
        "statistics": None,
        "refusal": None,
        "settings": settings,
    }


def _system(text: str | None) -> list[Case]:
    return [] if text is None else [{"role": "system", "content": text}]


def _has_turns(messages: list[Case]) -> bool:
    return any(message["role"] == "assistant" for message in messages)


def _idle(chat: Case, **changes: Any) -> Case:
    return {"state": "idle", "chat": chat | changes}


def _save(package: str, messages: list[Case]) -> Case:
    return {"effect": "save", "package": package, "messages": messages}


def _opened(state: Case, event: Case) -> Result | None:
    package, load = event["package"], {"effect": "load", "package": event["package"]}
    loading = {"state": "loading", "package": package}
    if state["state"] in ("empty", "loadFailed"):
        return loading, [load]
    if state["state"] == "loading":
        return None if state["package"] == package else (loading, [{"effect": "unload"}, load])
    chat = state["chat"]
    if chat["package"] == package:
        return _load_again(chat) if state["state"] == "unloaded" else None
    return loading, [*_let_go(state), load]


def _let_go(state: Case) -> list[Case]:
    """What ends a chat that stays on disk."""
    if state["state"] in ("empty", "loadFailed", "unloaded"):
        return []
    if state["state"] in BUSY:
        messages = _cut(state)
        return [{"effect": "cancel"}, _save(state["chat"]["package"], messages), {"effect": "unload"}]
    return [{"effect": "unload"}]


def _cut(state: Case) -> list[Case]:
    """The messages of a chat whose reply is cut off now: what was shown of it stays."""
    said = [*state["chat"]["messages"], user(state["userText"])]
    shown = state.get("soFar", "")
    return [*said, {"role": "assistant", "content": shown}] if shown else said


def _load_again(chat: Case) -> Result:
    load = {"effect": "load", "package": chat["package"]}
    return {"state": "restoring", "chat": chat}, [
        load,
        {"effect": "restore", "messages": whole_turns(chat["messages"])},
    ]


def _closed(state: Case, event: Case) -> Result | None:
    return None if state["state"] == "empty" else ({"state": "empty"}, _let_go(state))


def _loaded(state: Case, event: Case) -> Result | None:
    if state["state"] != "loading" or state["package"] != event["package"]:
        return None
    messages, settings = event["messages"], event["settings"]
    if not messages:
        return _idle(new_chat(event["package"], settings)), []
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    chat = new_chat(event["package"], settings | {"system": system}) | {"messages": messages}
    if not _has_turns(messages):
        return _idle(chat), []
    return {"state": "restoring", "chat": chat}, [{"effect": "restore", "messages": whole_turns(messages)}]


def _load_failed(state: Case, event: Case) -> Result | None:
    package = state.get("package") if state["state"] == "loading" else None
    if state["state"] == "restoring":
        package = state["chat"]["package"]
    if package != event["package"]:
        return None
    return {"state": "loadFailed", "package": package, "refusal": event["refusal"]}, []


def _sent(state: Case, event: Case) -> Result | None:
    return _ask(state["chat"], event["text"]) if state["state"] == "idle" else None


def _ask(chat: Case, text: str) -> Result:
    chat = chat | {"messages": whole_turns(chat["messages"]), "note": "", "refusal": None}
    save = _save(chat["package"], [*chat["messages"], user(text)])
    return {"state": "prefilling", "chat": chat, "userText": text}, [save, {"effect": "send", "text": text}]


def _regenerate(state: Case, event: Case) -> Result | None:
    if state["state"] != "idle" or not state["chat"]["messages"]:
        return None
    chat = state["chat"]
    *before, last = chat["messages"]
    if last["role"] == "user":
        return _ask(chat, last["content"])
    if last["role"] != "assistant":
        return None
    text = before[-1]["content"]
    chat = chat | {"messages": before[:-1], "note": "", "refusal": None}
    state = {"state": "prefilling", "chat": chat, "userText": text}
    return state, [_save(chat["package"], before), {"effect": "regenerate"}]


def _text(state: Case, event: Case) -> Result | None:
    if state["state"] not in BUSY or not event["text"]:
        return None
    if state["state"] == "prefilling":
        return state | {"state": "replying", "soFar": event["text"]}, []
    return state | {"soFar": state["soFar"] + event["text"]}, []


def _stop(state: Case, event: Case) -> Result | None:
    if state["state"] not in ("prefilling", "replying"):
        return None
    return state | {"state": "cancelling", "soFar": state.get("soFar", "")}, [{"effect": "cancel"}]


def _ended(state: Case, event: Case) -> Result | None:
    if state["state"] not in BUSY:
        return None
    messages = _after(state, event["messages"])
    chat = state["chat"] | {
        "messages": messages,
        "mark": event["mark"],
        "note": event["reply"]["note"],
        "statistics": event["statistics"],
    }
    return _idle(chat), [_save(chat["package"], messages)]


def _after(state: Case, messages: list[Case]) -> list[Case]:
    """The session's messages, and the question that it did not take in."""
    if len(messages) > len(state["chat"]["messages"]):
        return messages
    return [*messages, user(state["userText"])]


def _failed(state: Case, event: Case) -> Result | None:
    if state["state"] == "restoring":
        return _idle(state["chat"], messages=event["messages"], mark=NO_MARK, refusal=event["refusal"]), []
    if state["state"] not in BUSY:
        return None
    messages = _after(state, event["messages"])
    chat = state["chat"] | {"messages": messages, "refusal": event["refusal"]}
    return _idle(chat), [_save(chat["package"], messages)]


def _restored(state: Case, event: Case) -> Result | None:
    if state["state"] != "restoring":
        return None
    chat = state["chat"]
    unanswered = chat["messages"][len(whole_turns(chat["messages"])) :]
    return _idle(
        chat, messages=[*event["messages"], *unanswered], mark=event["mark"], note=event["note"], refusal=None
    ), []


def _new_chat(state: Case, event: Case) -> Result | None:
    if state["state"] != "idle":
        return None
    chat = new_chat(state["chat"]["package"], state["chat"]["settings"])
    return _idle(chat), [{"effect": "reset"}, _save(chat["package"], chat["messages"])]


def _settings(state: Case, event: Case) -> Result | None:
    if "chat" not in state:
        return None
    chat, settings = state["chat"], event["settings"]
    if settings["system"] == chat["settings"]["system"]:
        return state | {"chat": chat | {"settings": settings}}, []
    if state["state"] not in ("idle", "unloaded"):
        return None
    said = [message for message in chat["messages"] if message["role"] != "system"]
    messages = [*_system(settings["system"]), *said]
    chat = chat | {"settings": settings, "messages": messages}
    save = _save(chat["package"], messages)
    if state["state"] == "unloaded":
        return state | {"chat": chat}, [save]
    if not _has_turns(messages):
        return _idle(chat), [{"effect": "reset"}, save]
    restore = {"effect": "restore", "messages": whole_turns(messages)}
    return {"state": "restoring", "chat": chat}, [save, restore]


def _unload(state: Case, event: Case) -> Result | None:
    if state["state"] not in ("idle", "restoring", *BUSY):
        return None
    chat = state["chat"]
    if state["state"] in BUSY:
        chat = chat | {"messages": _cut(state)}
    return {"state": "unloaded", "chat": chat, "reason": REASONS[event["event"]]}, _let_go(state)


def _foreground(state: Case, event: Case) -> Result | None:
    if state["state"] != "unloaded" or state["reason"] == "thermal":
        return None
    return _load_again(state["chat"])


_HANDLERS: dict[str, Callable[[Case, Case], Result | None]] = {
    "packageOpened": _opened,
    "packageClosed": _closed,
    "loaded": _loaded,
    "loadFailed": _load_failed,
    "sent": _sent,
    "textArrived": _text,
    "replyEnded": _ended,
    "replyFailed": _failed,
    "stopTapped": _stop,
    "regenerateTapped": _regenerate,
    "newChatTapped": _new_chat,
    "settingsChanged": _settings,
    "restored": _restored,
    "memoryLow": _unload,
    "wentToBackground": _unload,
    "thermalCritical": _unload,
    "cameToForeground": _foreground,
}
EVENTS = tuple(_HANDLERS)
