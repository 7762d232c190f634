"""A chat never ends: thousands of tokens through small windows, exact attention, constant memory."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from chat.window import Context
from export.runner import PteRunner
from model.transformer import Transformer
from quant.checkpoint import build_model
from tests.export.windowed import float64_logits
from tests.packages import CHUNK, CONTEXT, ROOT, TINY, Made

_RELATIVE = 1e-5  # of max(1, max |logit|); docs/numerics.md
_TOKENS = 5_000
# Past the local window's first wrap (64), its ring's (79), the context (241), its ring's (256), and far beyond.
_CHECKED = (63, 64, 78, 79, 80, 240, 241, 255, 256, 257, 300, 1_000, 2_559, 2_560, 4_999)
_MEMORY_BYTES = 1 << 20


def expected_logits(model: Transformer, ids: list[int], last: int, *, start: int = 0) -> Tensor:
    return float64_logits(model, ids, last, context=CONTEXT, start=start)


def tokens(count: int) -> list[int]:
    return torch.randint(0, TINY.vocab_size, (count,), generator=torch.Generator().manual_seed(3)).tolist()


def test_five_thousand_tokens_attend_exactly_past_every_wrap(tiny_float: Made) -> None:
    runner = PteRunner(tiny_float.package / "model.pte", chunk=CHUNK, context=Context(kind="endless", tokens=CONTEXT))
    model, ids = build_model(tiny_float.checkpoint), tokens(_TOKENS)
    worst = 0.0
    for at, token in enumerate(ids):
        logits = runner.logits([token], at)
        if at in _CHECKED:
            expected = expected_logits(model, ids, at)
            error = float((logits - expected).abs().max()) / max(1.0, float(expected.abs().max()))
            worst = max(worst, error)
            assert error <= _RELATIVE, f"position {at}: {error:.2g}"
    print(f"\nworst relative error over {len(_CHECKED)} positions: {worst:.2g}")


def test_chunks_across_every_wrap_attend_exactly(tiny_float: Made) -> None:
    runner = PteRunner(tiny_float.package / "model.pte", chunk=CHUNK, context=Context(kind="endless", tokens=CONTEXT))
    model, ids = build_model(tiny_float.checkpoint), tokens(1_000)
    at = 0
    for count in (16, 7, 16, 16, 3, 16, 5, 16, 16, 1, 16, 11) * 8:  # chunk edges fall before, on and after the wraps
        if at + count > len(ids):
            break
        logits = runner.logits(ids[at : at + count], at)
        at += count
        expected = expected_logits(model, ids, at - 1)
        assert (logits - expected).abs().max() <= _RELATIVE * max(1.0, float(expected.abs().max())), f"up to {at}"
    assert at > 3 * CONTEXT


def test_starting_over_sees_nothing_of_the_chat_before(tiny_float: Made) -> None:
    runner = PteRunner(tiny_float.package / "model.pte", chunk=CHUNK, context=Context(kind="endless", tokens=CONTEXT))
    model, ids = build_model(tiny_float.checkpoint), tokens(700)
    runner.logits(ids, 0)
    runner.reset()
    again = list(reversed(ids))[:300]
    for at in range(0, 300, 12):  # crosses the context at 241 over a ring that is full of the old chat
        logits = runner.logits(again[at : at + 12], at)
        expected = expected_logits(model, again, at + 11)
        assert (logits - expected).abs().max() <= _RELATIVE * max(1.0, float(expected.abs().max())), f"up to {at + 12}"


def test_attention_is_as_exact_at_position_ten_million(tiny_float: Made) -> None:
    runner = PteRunner(tiny_float.package / "model.pte", chunk=CHUNK, context=Context(kind="endless", tokens=CONTEXT))
    model, ids, start = build_model(tiny_float.checkpoint), tokens(400), 10_000_000
    for at in range(0, 400, CHUNK):
        logits = runner.logits(ids[at : at + CHUNK], start + at)
        last = at + CHUNK - 1
        if (
            last >= CONTEXT + TINY.sliding_window
        ):  # by then nothing in either layer's reach is older than the first token
            expected = expected_logits(model, ids, last, start=start)
            assert (logits - expected).abs().max() <= _RELATIVE * max(1.0, float(expected.abs().max()))


_MEMORY_SCRIPT = """
import json, sys
from pathlib import Path
from chat.window import Context
from export.runner import PteRunner

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

runner = PteRunner(Path(sys.argv[1]), chunk=16, context=Context(kind="endless", tokens=241))
seen = {}
for at in range(5_000):
    runner.logits([at % 300], at)
    if at + 1 in (1_000, 5_000):
        seen[at + 1] = resident()
print(json.dumps(seen))
"""


def test_memory_after_five_thousand_tokens_is_that_after_one_thousand(tiny_int4: Made) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _MEMORY_SCRIPT, str(tiny_int4.package / "model.pte")]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    seen = json.loads(out.strip().splitlines()[-1])
    growth = seen["5000"] - seen["1000"]
    print(f"\nresident memory grew by {growth} bytes from token 1,000 to 5,000")
    assert abs(growth) < _MEMORY_BYTES


def test_the_manifest_says_what_the_program_keeps(tiny_int4: Made, tiny_float: Made, tiny_bounded: Made) -> None:
    from export.package import open_package
    from export.pte import read_pte

    for made in (tiny_int4, tiny_float, tiny_bounded):
        with open_package(made.package) as package:
            planned = read_pte(Path(package.path("program"))).method().planned_mutable_bytes
            assert planned == package.manifest.cache.bytes == sum(c.bytes for c in package.manifest.cache.layers)
