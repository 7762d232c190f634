"""The commands that run a package: `generate` continues a text, `chat` holds a conversation."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option, sampling_options
from cli.terminal import Terminal

if TYPE_CHECKING:
    from cli.engines import Sampling

_MOST_NEW_TOKENS = 1_000_000


@click.command(
    cls=PocketCommand,
    short_help="Continue a text with a package.",
    example='pocketlm generate package/ "Once upon a time" --max-new-tokens 200',
)
@click.argument("package", type=PATH)
@click.argument("prompt")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1, _MOST_NEW_TOKENS),
    default=256,
    show_default=True,
    help="Longest continuation.",
)
@sampling_options
@json_option
@click.pass_obj
def generate(
    terminal: Terminal,
    package: Path,
    prompt: str,
    max_new_tokens: int,
    temperature: float,
    top_p: float | None,
    seed: int | None,
    runner: str,
    as_json: bool,
) -> None:
    """Continue the text PROMPT with PACKAGE, streaming to stdout; figures go to stderr."""
    from cli.engines import Sampling, open_engine
    from cli.streaming import stream_completion

    sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
    check_sampling(runner, sampling)
    with open_engine(package, runner=runner, sampling=sampling, is_verbose=terminal.is_verbose) as opened:
        stream_completion(terminal, opened, prompt, max_new_tokens=max_new_tokens, as_json=as_json)


@click.command(
    cls=PocketCommand,
    short_help="Chat with a package.",
    example=(
        'pocketlm chat package/ --system "Answer briefly." --history talk.json\n'
        'printf "Hello\\nAnd then?\\n" | pocketlm chat package/'
    ),
)
@click.argument("package", type=PATH)
@click.option("--system", help="System text (default: the package's own).")
@click.option(
    "--history",
    "history_file",
    type=PATH,
    metavar="FILE",
    help="Save the chat here after every step, and go on with it when the file exists.",
)
@click.option(
    "--max-new-tokens", type=click.IntRange(1, _MOST_NEW_TOKENS), default=512, show_default=True, help="Longest reply."
)
@sampling_options
@click.pass_obj
def chat(
    terminal: Terminal,
    package: Path,
    system: str | None,
    history_file: Path | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float | None,
    seed: int | None,
    runner: str,
) -> None:
    """Chat with PACKAGE: a line of stdin is a message. It never ends by itself: old turns leave the window.

    Lines that begin with a slash are commands: /new, /regenerate, /quit.
    """
    from cli.engines import Sampling, open_engine
    from cli.streaming import hold_conversation

    sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
    check_sampling(runner, sampling)
    with open_engine(package, runner=runner, sampling=sampling, is_verbose=terminal.is_verbose) as opened:
        hold_conversation(terminal, opened, system=system, history_file=history_file, max_new_tokens=max_new_tokens)


def check_sampling(runner: str, sampling: "Sampling") -> None:
    """Refuses settings that would do nothing.

    Raises:
        click.UsageError: a seed, top-p or high temperature for the phones' runner, or top-p without a temperature.
    """
    for option, value in (("--seed", sampling.seed), ("--top-p", sampling.top_p)):
        if runner == "native" and value is not None:
            raise click.UsageError(
                f"{option} does not work with --runner native: the C++ runner of the phones has no "
                "such setting; leave it out, or use --runner python"
            )
    if runner == "native" and sampling.temperature > 1:
        raise click.UsageError(
            f"--temperature {sampling.temperature:g} does not work with --runner native, which takes 0 to 1; choose "
            "one of these, or use --runner python"
        )
    if sampling.top_p is not None and sampling.temperature == 0:
        raise click.UsageError(
            "--top-p does nothing at temperature 0, where the likeliest token is always taken; add "
            "--temperature 0.8, or leave it out"
        )
