"""A checkpoint's own chat template, rendered in Jinja as transformers renders it.

Refuses to know what a package can carry (model/template.py).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from chat.template import Message
from model.tokenizer_files import read_optional, special_text

_DATES = (datetime(2001, 2, 3), datetime(2034, 11, 30))


class Inexpressible(Exception):
    """The reason why a package cannot carry the template."""


class Refused(Exception):
    """The template itself refuses a conversation."""


def read_source(folder: Path) -> str | None:
    """The Jinja text of a Hugging Face folder, None if it has none; of several named ones the default.

    Raises:
        ValueError: a file is not UTF-8, or not JSON; copy it again.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 ({error}); copy it again") from None
    found = read_optional(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several named ones
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def token_texts(folder: Path) -> dict[str, str]:
    """The special texts that templates know by name (`bos_token` and so on), as far as the folder has them."""
    texts = {name: special_text(folder, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return {name: text for name, text in texts.items() if text is not None}


class JinjaTemplate:
    """A chat template in the environment that transformers gives it (utils/chat_template_utils.py)."""

    def __init__(self, source: str, tokens: Mapping[str, str], *, bos: str) -> None:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise jinja2.TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _generation_block()]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = refuse
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise Inexpressible(f"its chat template is not valid Jinja: {error}") from None
        self._tokens = dict(tokens)
        self._bos = bos
        self.with_bos: set[bool] = set()  # whether texts began with the BOS that is added anyway

    def render(self, messages: list[Message], *, add_generation_prompt: bool = False) -> str:
        """The text without an added BOS.

        Raises:
            Refused: the template raises.
            Inexpressible: the text depends on the date.
        """
        texts = {self._render(messages, add_generation_prompt, date) for date in _DATES}
        if len(texts) > 1:
            raise Inexpressible("its chat template writes today's date, which a package cannot know")
        text = texts.pop()
        if self._bos:
            self.with_bos.add(text.startswith(self._bos))
        return text.removeprefix(self._bos)

    def _render(self, messages: list[Message], add_generation_prompt: bool, date: datetime) -> str:
        try:
            return self._template.render(
                messages=[{"role": message.role, "content": message.content} for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                strftime_now=date.strftime,
                **self._tokens,
            )
        except Exception as error:  # noqa: BLE001 (foreign code: it may raise anything)
            raise Refused(str(error)) from None


def _generation_block() -> type:
    """The extension for `{% generation %}`, with which transformers marks what the assistant wrote: only its body."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 (declared so in jinja2)

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
