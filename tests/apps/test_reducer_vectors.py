"""The reference reducer: rules that hold for stories of random events, and stories worked out by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.turns import check_order
from tests.vectors.reducer_cases import MARK, PACKAGE, SETTINGS, reducer_tables
from tests.vectors.reducer_model import BUSY, EVENTS, new_chat, reduce, whole_turns
from tests.vectors.text_cases import chat, messages_of

TABLES = reducer_tables()
STATES: dict[str, dict[str, Any]] = TABLES["states"]
GIVEN: dict[str, dict[str, Any]] = TABLES["events"]
KINDS = ("empty", "loading", "loadFailed", "idle", *BUSY, "restoring", "unloaded")


def kinds(effects: list[dict[str, Any]]) -> list[str]:
    return [effect["effect"] for effect in effects]


def test_the_tables_have_every_state_and_every_event() -> None:
    assert {state["state"] for state in STATES.values()} == set(KINDS)
    assert {event["event"] for event in GIVEN.values()} == set(EVENTS)


def test_an_unknown_event_changes_nothing() -> None:
    for state in STATES.values():
        assert reduce(state, {"event": "sang"}) == (state, [])


def _session_said(event: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """An event as a session could send it in that state: its messages are the chat's, with or without the new turn."""
    if "chat" not in state or event["event"] not in ("replyEnded", "replyFailed", "restored"):
        return event
    said = whole_turns(state["chat"]["messages"])
    if event["event"] == "replyEnded" and event["reply"]["new_tokens"] and state["state"] in BUSY:
        turn = [{"role": "user", "content": state["userText"]}, {"role": "assistant", "content": "ok"}]
        said = [*said, *turn]
    return event | {"messages": said}


@given(st.lists(st.sampled_from(sorted(GIVEN)), max_size=40))
def test_whatever_happens_the_rules_hold(names: list[str]) -> None:
    state: dict[str, Any] = {"state": "empty"}
    is_loaded = False
    for name in names:
        before = state
        state, effects = reduce(state, _session_said(GIVEN[name], state))
        assert state["state"] in KINDS
        if "chat" in state:
            check_order(messages_of(state["chat"]["messages"]))
        for effect in kinds(effects):
            if effect == "load":
                assert not is_loaded
                is_loaded = True
            elif effect == "unload":
                assert is_loaded
                is_loaded = False
            elif effect != "save":
                assert is_loaded, (before, name, effects)
        if before["state"] == "loading" and state["state"] == "loadFailed":
            is_loaded = False
        if before["state"] == "restoring" and state["state"] == "loadFailed":
            is_loaded = False
        if state["state"] in (*BUSY, "idle", "restoring", "loading"):
            assert is_loaded
        if state["state"] in ("empty", "unloaded", "loadFailed"):
            assert not is_loaded
        if "send" in kinds(effects) or "regenerate" in kinds(effects):
            assert kinds(effects)[0] == "save" and state["state"] == "prefilling"


@given(st.lists(st.sampled_from(sorted(GIVEN)), max_size=30))
def test_what_was_typed_is_on_disk_until_a_new_chat(names: list[str]) -> None:
    """A chat's questions are always those of its last save, but for what a later question replaces."""
    state: dict[str, Any] = {"state": "empty"}
    for name in [*["package opened", "loaded, no chat", "sent"], *names]:
        state, effects = reduce(state, _session_said(GIVEN[name], state))
        for effect in effects:
            if effect["effect"] == "save" and state["state"] in BUSY:
                assert effect["messages"][-1] == {"role": "user", "content": state["userText"]}
            elif effect["effect"] == "save" and "chat" in state:
                assert effect["messages"] == state["chat"]["messages"]


def test_a_story_of_a_reply_that_was_cut_by_heat() -> None:
    idle = {"state": "idle", "chat": new_chat(PACKAGE, SETTINGS)}
    state, effects = reduce(idle, {"event": "sent", "text": "Hi"})
    assert (state["state"], kinds(effects)) == ("prefilling", ["save", "send"])
    state, _ = reduce(state, {"event": "textArrived", "text": "Hel"})
    state, _ = reduce(state, {"event": "textArrived", "text": "lo"})
    assert (state["state"], state["soFar"]) == ("replying", "Hello")
    state, effects = reduce(state, {"event": "thermalCritical"})
    assert (state["state"], state["reason"], kinds(effects)) == ("unloaded", "thermal", ["cancel", "save", "unload"])
    assert state["chat"]["messages"] == chat("Hi", "Hello") == effects[1]["messages"]
    late = {"event": "replyEnded", "messages": chat("Hi", "Hello!"), "reply": {}, "mark": MARK, "statistics": None}
    assert reduce(state, late) == (state, [])
    assert reduce(state, {"event": "cameToForeground"}) == (state, [])
    state, effects = reduce(state, {"event": "packageOpened", "package": PACKAGE})
    assert (state["state"], kinds(effects)) == ("restoring", ["load", "restore"])


def test_a_story_of_a_regeneration_that_failed() -> None:
    said = chat("Hi", "Hello", "And?", "So.")
    idle = {"state": "idle", "chat": new_chat(PACKAGE, SETTINGS) | {"messages": said}}
    state, effects = reduce(idle, {"event": "regenerateTapped"})
    assert (state["chat"]["messages"], state["userText"]) == (said[:2], "And?")
    assert effects[0]["messages"] == said[:3]
    refused = {"key": "engineMemory", "text": "There is not enough memory."}
    state, effects = reduce(state, {"event": "replyFailed", "messages": said, "refusal": refused})
    assert (state["state"], state["chat"]["messages"], state["chat"]["refusal"]) == ("idle", said, refused)
    assert effects[0]["messages"] == said  # the old reply is on disk again


@pytest.mark.parametrize("event", ["wentToBackground", "memoryLow", "thermalCritical"])
def test_an_idle_chat_is_let_go_without_a_word_lost(event: str) -> None:
    said = chat("Hi", "Hello", "And?")
    idle = {"state": "idle", "chat": new_chat(PACKAGE, SETTINGS) | {"messages": said}}
    state, effects = reduce(idle, {"event": event})
    assert (state["state"], state["chat"], kinds(effects)) == ("unloaded", idle["chat"], ["unload"])
