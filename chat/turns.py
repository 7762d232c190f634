"""What to send for each turn: the whole conversation once, then only what is new.

The runner keeps its cache between calls but never writes the last token that it sampled. So a chat's next text begins
with the end-of-turn token (the assistant's suffix), whether the reply ended by itself or was cut; a completion-only
package has no such token, and the text of the token that was cut off is sent again. The begin-of-text token (an id, or
`bos_text`) is the engine's business: it puts it before the first text.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.template import ChatTemplate, CompletionOnly, Message, delta
from chat.typed import neutralise
from chat.utf8 import replace_lone_surrogates, whole_text


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Builds the texts of one package's chats. Contents are neutralised: they never become special tokens."""

    template: ChatTemplate | CompletionOnly
    specials: tuple[str, ...]  # texts of the tokenizer's special tokens
    stop_texts: tuple[str, ...]  # what ends a reply when a runner delivers it as text

    @classmethod
    def of(
        cls, template: ChatTemplate | CompletionOnly, *, special_tokens: Mapping[int, str], stop_ids: Sequence[int]
    ) -> "Turns":
        """Takes the stop texts from the template's end-of-turn tokens and the stop ids' special texts."""
        ends = template.end_of_turn if isinstance(template, ChatTemplate) else ()
        stops = dict.fromkeys([*ends, *(special_tokens[i] for i in stop_ids if i in special_tokens)])
        return cls(template=template, specials=tuple(special_tokens.values()), stop_texts=tuple(stops))

    def first_text(self, messages: Sequence[Message]) -> str:
        """The first text of a chat, and of one that starts over (a reply again, a reset): it asks for a reply.

        Args:
            messages: an optional system message, then user and assistant in turn, the user's last.

        Raises:
            ValueError: the last message is not the user's, or the template refuses the messages.
        """
        check_order(messages)
        if not messages or messages[-1].role != "user":
            raise ValueError("a reply is asked for after a user message; the last message must be the user's")
        generation = self.template.generation_prompt if isinstance(self.template, ChatTemplate) else ""
        return "".join(self.parts(messages)) + generation

    def next_text(self, user_text: str, *, lost: bytes) -> str:
        """The text of a later turn, when the cache holds everything before it.

        Args:
            user_text: the user's message.
            lost: the last sampled token's bytes when the reply was cut, empty when it ended by itself. Only a
                completion-only package sends them again, unless they begin or end inside a character.
        """
        text = replace_lone_surrogates(user_text)
        if isinstance(self.template, ChatTemplate):
            return delta(self.template, text, specials=self.specials)
        return neutralise((whole_text(lost) or "") + text, self.specials)

    def restored_text(self, messages: Sequence[Message]) -> str:
        """What brings the cache to where it was after a reply: everything but the end-of-turn token and what follows.

        Raises:
            ValueError: the last message is not the assistant's, or the template refuses the messages.
        """
        check_order(messages)
        if not messages or messages[-1].role != "assistant":
            raise ValueError("a restored chat ends with a reply; leave an unanswered message to the next turn")
        text = "".join(self.parts(messages))
        if isinstance(self.template, ChatTemplate):
            return text.removesuffix(self.template.roles["assistant"].suffix)
        return text

    def parts(self, messages: Sequence[Message]) -> list[str]:
        """The conversation as text: the head (start and system text, perhaps empty), then one text a message.

        Raises:
            ValueError: the template refuses the messages; it says why.
        """
        has_system = bool(messages) and messages[0].role == "system"
        if isinstance(self.template, CompletionOnly):
            if has_system:
                raise ValueError("this package only continues text and takes no system message; leave it out")
            return [""] + [self._clean(message.content) for message in messages]
        bare = dataclasses.replace(self.template, start="", default_system=None, alternates=False)
        head = self.template.start
        if has_system:
            head += self._wrapped(bare, messages[0])
        elif self.template.default_system is not None:
            head += bare.render(
                [Message(role="system", content=self.template.default_system)], add_generation_prompt=False
            )
        return [head] + [self._wrapped(bare, message) for message in messages[1 if has_system else 0 :]]

    def _wrapped(self, bare: ChatTemplate, message: Message) -> str:
        clean = dataclasses.replace(message, content=replace_lone_surrogates(message.content))
        return bare.render([clean], add_generation_prompt=False, specials=self.specials)

    def _clean(self, content: str) -> str:
        return neutralise(replace_lone_surrogates(content), self.specials)


def check_order(messages: Sequence[Message]) -> None:
    """Checks that after an optional system message user and assistant take turns, the user first.

    Raises:
        ValueError: a message is out of turn; the message names it.
    """
    first = 1 if messages and messages[0].role == "system" else 0
    for index in range(first, len(messages)):
        expected = "assistant" if (index - first) % 2 else "user"
        if messages[index].role != expected:
            raise ValueError(
                f"message {index} has the role {messages[index].role!r}, but it is the {expected}'s turn; "
                "after an optional system message user and assistant alternate"
            )


def to_regenerate(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation without its last reply: what is asked again, from an empty cache.

    A cache cannot go back: rings have overwritten what an earlier position saw, and the phones' runner only resets.

    Raises:
        ValueError: there is no reply to replace.
    """
    if not messages or messages[-1].role != "assistant":
        raise ValueError("there is no reply to generate again; send a message first")
    return tuple(messages[:-1])
