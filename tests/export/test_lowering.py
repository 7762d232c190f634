"""Lowering with one preparing pass a delegate gives the delegates that all of XNNPACK's passes give."""

from pathlib import Path

import pytest
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

from chat.window import Context
from export import xnnpack
from export.program import Program
from export.pte import read_pte
from export.runner import PteRunner
from export.xnn_payload import read_payload
from quant.checkpoint import build_model
from tests.packages import CHUNK, CONTEXT, Made


def lowered(made: Made, path: Path) -> Path:
    model = build_model(made.checkpoint).requires_grad_(False)
    program = Program(model, context=CONTEXT, chunk=CHUNK, bounded=False, cache_dtype="int8")
    xnnpack.write_pte(xnnpack.lower(program, {"get_max_seq_len": CHUNK}), path)
    return path


def nodes(path: Path) -> list[list[str]]:
    """The kinds of each delegate's nodes, in order."""
    return [[str(node.kind) for node in read_payload(d.payload).nodes] for d in read_pte(path).method().delegates]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_int4", "other_int4"])
def test_one_pass_a_delegate_gives_what_all_of_xnnpacks_passes_give(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Made = request.getfixturevalue(name)
    monkeypatch.setattr(xnnpack, "partitioner", XnnpackPartitioner)
    reference = lowered(made, tmp_path / "all_passes.pte")
    ours = made.package / "model.pte"
    assert nodes(ours) == nodes(reference)
    context = Context(kind="endless", tokens=CONTEXT)
    left, right = (PteRunner(path, chunk=CHUNK, context=context) for path in (ours, reference))
    ids = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(5)).tolist()
    for at in range(0, 400, CHUNK):
        assert torch.equal(left.logits(ids[at : at + CHUNK], at), right.logits(ids[at : at + CHUNK], at))
