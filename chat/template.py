"""How a conversation becomes the text that the model reads: prefixes and suffixes instead of Jinja.

Kotlin and Swift repeat this file line by line; the vectors in tests/vectors hold all three together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chat.typed import neutralise

ROLES = ("system", "user", "assistant")

# What trimming takes away: Python's str.isspace, spelled out because Kotlin's and Swift's sets are others.
WHITESPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, kw_only=True)
class Message:
    role: str  # one of ROLES
    content: str


@dataclass(frozen=True, kw_only=True)
class Role:
    """What stands around one role's text."""

    prefix: str
    suffix: str
    trim: bool = False  # whether WHITESPACE is taken off both ends of the content


@dataclass(frozen=True, kw_only=True)
class CompletionOnly:
    """The model has no chat format that a package can carry; it continues text."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"kind": "completion", "reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """A chat format as data. A model that takes no system message has no role "system"."""

    start: str  # once, at the beginning of the conversation, after BOS
    roles: Mapping[str, Role]
    default_system: str | None  # system text of a conversation without a system message; None: nothing is written
    generation_prompt: str
    end_of_turn: tuple[str, ...]  # texts of the tokens that end the assistant's turn; its suffix begins with the first
    alternates: bool = False  # whether the model insists on user, assistant, user, ...

    def __post_init__(self) -> None:
        unknown = sorted(set(self.roles) - set(ROLES))
        if unknown or not {"user", "assistant"} <= set(self.roles):
            raise ValueError(
                f"a chat template has the roles {', '.join(sorted(self.roles))}; it needs user and "
                "assistant, may have system, and knows no other"
            )
        if self.default_system is not None and "system" not in self.roles:
            raise ValueError("a chat template has a default system text but no role 'system' to write it with")
        if not self.end_of_turn or not self.roles["assistant"].suffix.startswith(self.end_of_turn[0]):
            raise ValueError("a chat template's assistant suffix must begin with its first end-of-turn token")

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "chat",
            "start": self.start,
            "roles": {
                name: {"prefix": role.prefix, "suffix": role.suffix, "trim": role.trim}
                for name, role in self.roles.items()
            },
            "default_system": self.default_system,
            "generation_prompt": self.generation_prompt,
            "end_of_turn": list(self.end_of_turn),
            "alternates": self.alternates,
        }

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, specials: Iterable[str] | None = None
    ) -> str:
        """The whole conversation as text, without BOS.

        Args:
            messages: at least one; a system message can only come first. Leave an empty one out: some models' own
                templates skip it, here it is written.
            add_generation_prompt: whether the text ends with the opening of the assistant's turn.
            specials: texts of the special tokens, which contents must not hold (`neutralise`); None leaves them as
                they are, which is right only for comparing with another renderer.

        Raises:
            ValueError: no message, a system message that is not the first or not supported, an unknown role, or an
                order that the model refuses.
        """
        self._check(messages)
        known = None if specials is None else tuple(specials)
        parts = [self.start]
        if self.default_system is not None and messages[0].role != "system":
            parts.append(_wrap(self.roles["system"], self.default_system))
        for message in messages:
            role = self.roles[message.role]
            parts.append(_wrap(role, _content(role, message.content, known)))
        if add_generation_prompt:
            parts.append(self.generation_prompt)
        return "".join(parts)

    def _check(self, messages: Sequence[Message]) -> None:
        if not messages:
            raise ValueError("the conversation is empty; give at least one message")
        for index, message in enumerate(messages):
            if message.role not in ROLES:
                raise ValueError(f"unknown role {message.role!r}; known: {', '.join(ROLES)}")
            if message.role != "system":
                continue
            if "system" not in self.roles:
                raise ValueError("this model takes no system message; leave it out or put it into the first question")
            if index:
                raise ValueError(f"message {index} is a system message; there is at most one, and it comes first")
        if self.alternates:
            turns = [message.role for message in messages if message.role != "system"]
            if any(role != ("user", "assistant")[i % 2] for i, role in enumerate(turns)):
                raise ValueError(
                    f"this model takes user and assistant messages in turn, the user's first; got {', '.join(turns)}"
                )


def delta(template: ChatTemplate, user_text: str, *, specials: Iterable[str] | None = None) -> str:
    """What is sent after an assistant's turn instead of the whole conversation.

    It begins with the end-of-turn token: the runner never writes the last sampled token to the cache. The same text
    follows a reply that was stopped before its end.

    Args:
        template: the package's chat template.
        user_text: the next question.
        specials: as in `ChatTemplate.render`.
    """
    user = template.roles["user"]
    known = None if specials is None else tuple(specials)
    return (
        template.roles["assistant"].suffix + _wrap(user, _content(user, user_text, known)) + template.generation_prompt
    )


def template_from_json(data: Any) -> ChatTemplate | CompletionOnly:
    """Reads what `to_json` wrote, strictly.

    Raises:
        ValueError: a missing or unknown key, or a value of another type; the message names it.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind == "completion":
        _expect(data, {"kind": str, "reason": str}, "the chat template")
        return CompletionOnly(reason=data["reason"])
    if kind != "chat":
        raise ValueError(f"a chat template's kind is {kind!r}; known: 'chat', 'completion'")
    _expect(
        data,
        {
            "kind": str,
            "start": str,
            "roles": dict,
            "default_system": (str, type(None)),
            "generation_prompt": str,
            "end_of_turn": list,
            "alternates": bool,
        },
        "the chat template",
    )
    roles = {}
    for name, role in data["roles"].items():
        _expect(role, {"prefix": str, "suffix": str, "trim": bool}, f"role {name!r} of the chat template")
        roles[name] = Role(prefix=role["prefix"], suffix=role["suffix"], trim=role["trim"])
    if not all(isinstance(text, str) and text for text in data["end_of_turn"]):
        raise ValueError("the chat template's end_of_turn must be a list of texts that are not empty")
    return ChatTemplate(
        start=data["start"],
        roles=roles,
        default_system=data["default_system"],
        generation_prompt=data["generation_prompt"],
        end_of_turn=tuple(data["end_of_turn"]),
        alternates=data["alternates"],
    )


def _wrap(role: Role, content: str) -> str:
    return role.prefix + content + role.suffix


def _content(role: Role, text: str, specials: tuple[str, ...] | None) -> str:
    if role.trim:
        text = text.strip(WHITESPACE)
    return text if specials is None else neutralise(text, specials)


def _expect(data: Any, types: Mapping[str, type | tuple[type, ...]], what: str) -> None:
    if not isinstance(data, dict):
        raise ValueError(f"{what} must be an object, not {type(data).__name__}")
    wrong = sorted(set(data) ^ set(types))
    if wrong:
        raise ValueError(
            f"{what} has the keys {', '.join(sorted(data))}; it must have {', '.join(sorted(types))} "
            f"(differing: {', '.join(wrong)})"
        )
    for key, allowed in types.items():
        if not isinstance(data[key], allowed):
            raise ValueError(f"{what}: {key} is a {type(data[key]).__name__}, which is not allowed there")
