"""The text that a method of `quantize` looks at: its options, and how it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import PATH

if TYPE_CHECKING:
    from quant.calibration import Documents


def calibration_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `read_calibration` takes."""
    function = click.option(
        "--calibrate-tokens",
        type=click.IntRange(min=1),
        default=65_536,
        show_default=True,
        help="How much of it, from its beginning.",
    )(function)
    function = click.option(
        "--calibrate-listed",
        type=PATH,
        metavar="PATH",
        help="Only what this documents.jsonl (or training run) trained on: no held-out text is looked at.",
    )(function)
    function = click.option(
        "--calibrate-protocol", help="How it becomes documents, as in evaluate; each is cut at 512 tokens."
    )(function)
    return click.option(
        "--calibrate",
        metavar="FILE",
        help="Text like what the model will read, for gptq: what evaluate takes as --text.",
    )(function)


def read_calibration(
    checkpoint: Path,
    *,
    calibrate: str | None,
    calibrate_protocol: str | None,
    calibrate_listed: Path | None,
    calibrate_tokens: int,
) -> "Documents | None":
    """Token ids of the calibration text, or None without one.

    Raises:
        ValueError: a text that cannot be read, or a checkpoint without a tokenizer.
    """
    if calibrate is None:
        return None
    from evaluation.text import read_text
    from quant.calibration import encode_documents

    text = read_text(calibrate, protocol=calibrate_protocol, listed=calibrate_listed, split="train")
    return encode_documents(checkpoint, [document.text for document in text.documents], calibrate_tokens)
