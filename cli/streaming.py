"""What `generate` and `chat` do with an opened package."""

import time
from pathlib import Path

from chat.reply import ReplyStream
from chat.session import Session
from chat.typed import neutralise
from chat.utf8 import replace_lone_surrogates
from chat.window import context_end_sentence, new_token_budget
from cli.conversation import Conversation
from cli.engines import Opened
from cli.terminal import Terminal


def stream_completion(terminal: Terminal, opened: Opened, prompt: str, *, max_new_tokens: int, as_json: bool) -> None:
    """Continues a text: streamed to stdout as it comes, or one JSON value at the end.

    Raises:
        ContextFullError: the prompt does not fit into a bounded context.
    """
    engine, turns = opened.engine, opened.turns
    if opened.note:
        terminal.log(opened.note)
    text = neutralise(replace_lone_surrogates(prompt), turns.specials)
    prompt_tokens = engine.count(text, first=True)
    budget = new_token_budget(0, prompt_tokens, max_new_tokens, opened.context)
    reply = ReplyStream(turns.stop_texts, time.monotonic)
    for piece in engine.stream(text, first=True, max_new_tokens=budget):
        new_text = reply.take(piece)
        if not as_json:
            terminal.write(new_text)
        if reply.is_stopped:
            engine.stop()
    rest = reply.finish()
    is_full = not reply.is_stopped and reply.num_tokens == budget < max_new_tokens
    rate, wait = reply.decode_tokens_per_s, reply.time_to_first_token_s
    if as_json:
        terminal.result(
            {
                "prompt": prompt,
                "text": reply.text,
                "prompt_tokens": prompt_tokens,
                "new_tokens": reply.num_tokens,
                "time_to_first_token_s": wait,
                "decode_tokens_per_s": rate,
                "end": "stop" if reply.is_stopped else "context" if is_full else "length",
                "kernels": opened.kernels,
            },
            (),
            as_json=True,
        )
    else:
        terminal.write(rest + "\n")
    if is_full:
        terminal.log(context_end_sentence(opened.context))
    terminal.log(
        f"[{prompt_tokens} + {reply.num_tokens} tokens, first after {wait or 0:.2f} s"
        + (f", then {rate:.0f} tokens/s" if rate is not None else "")
        + f"; {opened.kernels}]"
    )


def hold_conversation(
    terminal: Terminal, opened: Opened, *, system: str | None, history_file: Path | None, max_new_tokens: int
) -> None:
    """Chats over stdin and stdout until the input ends."""

    def open_session(text: str | None) -> Session:
        return Session(opened.engine, opened.turns, opened.context, system=text)

    if opened.note:
        terminal.log(opened.note)
    if opened.manifest.template.to_json()["kind"] == "completion":
        terminal.log("this package has no chat format: it continues what you type")
    Conversation(
        terminal=terminal,
        open_session=open_session,
        package_id=opened.package_id,
        system=system,
        history_file=history_file,
        max_new_tokens=max_new_tokens,
        kernels=opened.kernels,
    ).run()
