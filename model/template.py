"""From a checkpoint's Jinja chat template to the declarative one of the package, proved equal or refused with a reason.

The phones have no Jinja. The template is rendered on conversations of marker words, prefixes and suffixes are read off
between the markers, and then a corpus of conversations is rendered both ways and compared.

Before the first marker stands the head (`head`), or `system_head` where a system message comes first.
"""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

from chat.template import ChatTemplate, CompletionOnly, Message, Role
from model.jinja_template import Inexpressible, JinjaTemplate, Refused, read_source, token_texts
from model.tokenizer import TokenizerSpec, load_tokenizer

log = logging.getLogger(__name__)

# Contents on which a template may do more than wrap: each stands once in every place of the corpus.
PROBE_CONTENTS = (
    "",
    " ",
    "plain",
    " leading",
    "trailing \n",
    "\n\n \tboth\r\n",
    "two\nlines\n\nand more",
    "caf\u00e9 e\u0301 \u6f22\u5b57 \U0001f600",
    "{{ bos_token }} {% if x %} {# no #}",
    "<|im_end|> <|eot_id|> <|eot|></s><end_of_turn> [INST] <<SYS>>",
    "<think>\nwhy\n</think>\n\nbecause",
    "\u00a0nbsp\u3000",
    "\"quoted\" \\ 'single' <b>&amp;</b>",
)
_SHAPES = ("u", "su", "ua", "sua", "uau", "suau", "uauaua", "uauauau", "suauauau", "uu", "au", "uaa")
_NAMES = {"s": "system", "u": "user", "a": "assistant"}


def derive_template(
    folder: Path, spec: TokenizerSpec | None, *, tokenizer: Path | None = None
) -> ChatTemplate | CompletionOnly:
    """The declarative chat template of a Hugging Face folder, or why it has none.

    BOS is the tokenizer's business (`TokenizerSpec`): where the spec adds one, a BOS written by the template is left
    out of `start`; where the template writes none, the spec's still stands first.

    Args:
        folder: holds chat_template.jinja, or tokenizer_config.json with `chat_template`.
        spec: the folder's tokenizer.
        tokenizer: the folder of the tokenizer's file, if it is another.
    """
    source = read_source(folder)
    if source is None:
        return CompletionOnly(reason="the checkpoint has no chat template")
    if spec is None:
        return CompletionOnly(reason="the checkpoint has a chat template but no tokenizer")
    try:
        jinja = JinjaTemplate(source, token_texts(folder), bos=_added_bos(spec))
        template = _derive(jinja, spec)
        _prove(template, jinja)
        _check_tokens(template, tokenizer or folder, spec)
    except Inexpressible as reason:
        return CompletionOnly(reason=str(reason))
    return template


def _added_bos(spec: TokenizerSpec) -> str:
    """The text of the BOS that stands before the first prompt anyway; "" if none does."""
    texts = {token.id: token.text for token in spec.special_tokens}
    return texts.get(spec.bos_id, "") if spec.num_bos and spec.bos_id is not None else spec.bos_text


def _derive(jinja: JinjaTemplate, spec: TokenizerSpec) -> ChatTemplate:
    try:
        head, between, turn, again, end = _gaps(jinja, "uaua")
        if between != again:
            raise Inexpressible("its chat template writes the second turn otherwise than the first")
        user_suffix = _gaps(jinja, "u")[1]
        prompt = _without_prefix(_gaps(jinja, "u", add_generation_prompt=True)[1], user_suffix)
        user_prefix, assistant_prefix = _without_prefix(turn, end), _without_prefix(between, user_suffix)
        head = _without_suffix(head, user_prefix)
    except Refused as error:
        raise Inexpressible(f"its chat template refuses a plain conversation: {error}") from None
    roles = {
        "user": Role(prefix=user_prefix, suffix=user_suffix, trim=_trims(jinja, "u", 0)),
        "assistant": Role(prefix=assistant_prefix, suffix=end, trim=_trims(jinja, "uau", 1)),
    }
    start, default = head, None
    system = _derive_system(jinja, head, user_prefix)
    if system is not None:
        roles["system"], start, default = system
    return ChatTemplate(
        start=start,
        roles=roles,
        default_system=default,
        generation_prompt=prompt,
        end_of_turn=_end_of_turn(end, spec),
        alternates=_alternates(jinja),
    )


def _derive_system(jinja: JinjaTemplate, head: str, user_prefix: str) -> tuple[Role, str, str | None] | None:
    """The system role, the conversation's start and the default system text; None if there is no such role."""
    try:
        system_head, after, _ = _gaps(jinja, "su")
        suffix = _without_suffix(after, user_prefix)
        trim = _trims(jinja, "su", 0)
    except (Refused, Inexpressible) as reason:
        log.info("the chat template takes no system message (%s)", reason)
        return None
    fits = head.startswith(system_head) and head.endswith(suffix) and len(head) >= len(system_head) + len(suffix)
    if head and suffix and fits:  # the same block is written without a system message, with a text of its own
        default = head[len(system_head) : len(head) - len(suffix)]
        return Role(prefix=system_head, suffix=suffix, trim=trim), "", default
    if not system_head.startswith(head):
        raise Inexpressible("its chat template begins otherwise with a system message than without one")
    return Role(prefix=system_head[len(head) :], suffix=suffix, trim=trim), head, None


def _gaps(jinja: JinjaTemplate, shape: str, *, add_generation_prompt: bool = False) -> list[str]:
    """What stands before, between and after the contents of a conversation of that shape."""
    words = [f"zq{i}{_NAMES[letter]}{i}qz" for i, letter in enumerate(shape)]
    rest = jinja.render(
        [Message(role=_NAMES[r], content=w) for r, w in zip(shape, words, strict=True)],
        add_generation_prompt=add_generation_prompt,
    )
    gaps = []
    for word in words:
        gap, found, rest = rest.partition(word)
        if not found or word in rest:
            raise Inexpressible("its chat template drops, repeats or reorders messages")
        gaps.append(gap)
    return [*gaps, rest]


def _without_prefix(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise Inexpressible("its chat template writes a message otherwise at another place of the conversation")
    return text[len(prefix) :]


def _without_suffix(text: str, suffix: str) -> str:
    if not text.endswith(suffix):
        raise Inexpressible("its chat template writes a message otherwise at another place of the conversation")
    return text[: len(text) - len(suffix)]


def _trims(jinja: JinjaTemplate, shape: str, index: int) -> bool:
    """Whether the content at `index` loses the spaces around it."""

    def text(content: str) -> str:
        return jinja.render(
            [Message(role=_NAMES[letter], content=content if i == index else "other") for i, letter in enumerate(shape)]
        )

    word, padded = "zqwordqz", " \n zqwordqz\t \n"
    if text(padded) == text(word):
        return True
    if text(padded) == text(word).replace(word, padded):
        return False
    raise Inexpressible(
        f"its chat template changes the spaces around a {_NAMES[shape[index]]} message "
        "otherwise than by trimming both ends"
    )


def _end_of_turn(suffix: str, spec: TokenizerSpec) -> tuple[str, ...]:
    """The token that the assistant's suffix begins with, then the other stop tokens."""
    first = max(
        (token for token in spec.special_tokens if suffix.startswith(token.text)),
        key=lambda token: len(token.text),
        default=None,
    )
    if first is None:
        raise Inexpressible(
            f"its assistant turn ends with {suffix!r}, which does not begin with a special token: "
            "a reply's end could not be seen"
        )
    if first.id not in spec.stop_ids:
        raise Inexpressible(
            f"its assistant turn ends with {first.text!r}, which is not among the stop ids; "
            "add its id to eos_token_id in generation_config.json"
        )
    others = (token.text for token in spec.special_tokens if token.id in spec.stop_ids and token != first)
    return (first.text, *others)


def _alternates(jinja: JinjaTemplate) -> bool:
    for shape in ("uu", "au", "uaa"):
        try:
            jinja.render([Message(role=_NAMES[letter], content="x") for letter in shape])
        except Refused:
            return True
    return False


def _conversations() -> Iterator[list[Message]]:
    for shape in _SHAPES:
        for content, place in itertools.product(PROBE_CONTENTS, range(len(shape) + 1)):
            yield [
                Message(role=_NAMES[letter], content=content if place in (i, len(shape)) else f"word {i}")
                for i, letter in enumerate(shape)
            ]


def _prove(template: ChatTemplate, jinja: JinjaTemplate) -> None:
    """Compares the two on every conversation that the declarative template accepts."""
    for messages in _conversations():
        if messages[0].role == "system" and not messages[0].content.strip():
            continue  # some templates skip an empty one; ChatTemplate.render says to leave it out
        for prompt in (False, True):
            try:
                ours = template.render(messages, add_generation_prompt=prompt)
            except ValueError:  # an order that the model refuses, a system message that it does not take
                continue
            try:
                theirs: str | None = jinja.render(messages, add_generation_prompt=prompt)
            except Refused:
                theirs = None
            if ours != theirs:
                shown = ", ".join(f"{message.role} {message.content!r}" for message in messages)
                raise Inexpressible(f"its chat template is more than prefixes and suffixes: see {shown}")
    if len(jinja.with_bos) > 1:
        raise Inexpressible("its chat template begins only some conversations with the BOS token")


def _check_tokens(template: ChatTemplate, folder: Path, spec: TokenizerSpec) -> None:
    """Every special token in the template's own text must become its id when the phones' reader sees it."""
    own = [template.start, template.default_system or "", template.generation_prompt]
    own += [part for role in template.roles.values() for part in (role.prefix, role.suffix)]
    tokenizer = load_tokenizer(folder, spec)
    for token in spec.special_tokens:
        if any(token.text in text for text in own) and token.id not in tokenizer.encode(token.text, first=False):
            raise Inexpressible(
                f"its chat template writes {token.text!r}, which {spec.file} does not read back as id {token.id}"
            )
