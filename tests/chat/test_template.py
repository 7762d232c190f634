"""The declarative chat template: rendering, turn deltas, refusals, and its JSON form."""

import sys
from typing import Any

import pytest

from chat.template import (
    WHITESPACE,
    ChatTemplate,
    CompletionOnly,
    Message,
    Role,
    delta,
    template_from_json,
)

TEMPLATE = ChatTemplate(
    start="[start]",
    roles={
        "system": Role(prefix="<s>", suffix="</s>", trim=True),
        "user": Role(prefix="<u>", suffix="</u>"),
        "assistant": Role(prefix="<a>", suffix="<end>\n"),
    },
    default_system="Be kind.",
    generation_prompt="<a>",
    end_of_turn=("<end>", "<eos>"),
)
STRICT = ChatTemplate(
    start="",
    roles={name: role for name, role in TEMPLATE.roles.items() if name != "system"},
    default_system=None,
    generation_prompt="<a>",
    end_of_turn=("<end>",),
    alternates=True,
)


def _say(*turns: tuple[str, str]) -> list[Message]:
    return [Message(role=role, content=content) for role, content in turns]


def test_a_conversation_is_prefix_content_suffix_in_order() -> None:
    text = TEMPLATE.render(
        _say(("system", " Rule "), ("user", " hi "), ("assistant", "yo"), ("user", "bye")), add_generation_prompt=True
    )
    assert text == "[start]<s>Rule</s><u> hi </u><a>yo<end>\n<u>bye</u><a>"


def test_the_default_system_text_stands_in_for_a_missing_one() -> None:
    assert TEMPLATE.render(_say(("user", "hi")), add_generation_prompt=False) == "[start]<s>Be kind.</s><u>hi</u>"


def test_a_delta_begins_with_the_end_of_turn_and_continues_the_conversation() -> None:
    first = TEMPLATE.render(_say(("user", "hi")), add_generation_prompt=True)
    whole = TEMPLATE.render(_say(("user", "hi"), ("assistant", "yo"), ("user", "bye")), add_generation_prompt=True)
    assert delta(TEMPLATE, "bye").startswith(TEMPLATE.end_of_turn[0])
    assert first + "yo" + delta(TEMPLATE, "bye") == whole


def test_special_tokens_in_contents_are_broken_and_the_templates_own_are_not() -> None:
    specials = ("<u>", "</u>", "<a>", "<s>", "</s>", "<end>")
    text = TEMPLATE.render(
        _say(("system", "<u>"), ("user", "<end>"), ("assistant", "</u>"), ("user", "<a>")),
        add_generation_prompt=True,
        specials=specials,
    )
    assert text == ("[start]<s><\u200bu></s><u><\u200bend></u><a><\u200b/u><end>\n<u><\u200ba></u><a>")
    assert delta(TEMPLATE, "<end>", specials=specials) == "<end>\n<u><\u200bend></u><a>"


def test_specials_may_be_an_iterator() -> None:
    text = TEMPLATE.render(_say(("user", "<u>"), ("user", "<u>")), add_generation_prompt=False, specials=iter(["<u>"]))
    assert text.count("<\u200bu>") == 2


def test_trimming_takes_every_kind_of_space_and_nothing_else() -> None:
    assert set(WHITESPACE) == {chr(c) for c in range(sys.maxunicode + 1) if chr(c).isspace()}
    padded = WHITESPACE + "a b" + WHITESPACE
    text = TEMPLATE.render(_say(("system", padded), ("user", "u")), add_generation_prompt=False)
    assert "<s>a b</s>" in text


@pytest.mark.parametrize(
    ("template", "messages", "words"),
    [
        (TEMPLATE, [], "conversation is empty"),
        (TEMPLATE, _say(("tool", "x")), "unknown role 'tool'"),
        (TEMPLATE, _say(("user", "x"), ("system", "y")), "comes first"),
        (TEMPLATE, _say(("system", "x"), ("system", "y")), "comes first"),
        (STRICT, _say(("system", "x"), ("user", "y")), "takes no system message"),
        (STRICT, _say(("user", "x"), ("user", "y")), "in turn"),
        (STRICT, _say(("assistant", "x")), "in turn"),
    ],
)
def test_a_conversation_that_the_model_never_saw_is_refused(
    template: ChatTemplate, messages: list[Message], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        template.render(messages, add_generation_prompt=True)


@pytest.mark.parametrize("template", [TEMPLATE, STRICT, CompletionOnly(reason="because")])
def test_json_brings_back_the_same_template(template: ChatTemplate | CompletionOnly) -> None:
    assert template_from_json(template.to_json()) == template


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in TEMPLATE.to_json().items() if name != key}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "kind is None"),
        ({"kind": "jinja"}, "kind is 'jinja'"),
        (_without("start"), "start"),
        (TEMPLATE.to_json() | {"colour": 1}, "colour"),
        (TEMPLATE.to_json() | {"alternates": 1}, "alternates is a int"),
        (TEMPLATE.to_json() | {"end_of_turn": [""]}, "end_of_turn"),
        (TEMPLATE.to_json() | {"end_of_turn": ["<eos>"]}, "must begin with its first end-of-turn"),
        (TEMPLATE.to_json() | {"roles": {"user": {"prefix": "", "suffix": ""}}}, "role 'user'"),
        (STRICT.to_json() | {"default_system": "x"}, "no role 'system'"),
        (STRICT.to_json() | {"roles": {}}, "needs user and assistant"),
        ({"kind": "completion"}, "reason"),
        ({"kind": "completion", "reason": 3}, "reason is a int"),
    ],
)
def test_other_json_is_refused_by_name(data: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        template_from_json(data)
