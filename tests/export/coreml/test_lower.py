"""Lowered files: one delegate a method, every projection a linear, weights once, the same bytes twice."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from export.manifest import Manifest
from export.mil.container import CoremlFile, open_coreml
from export.package import open_package
from export.pte_values import DelegateCall
from export.static_layout import row_chunks, static_methods
from tests.packages import COREML_CONTEXT, ROOT, TINY, Made

PACKAGES = ("tiny_gpu", "tiny_ane", "tiny_stateful", "other_ane")


@pytest.fixture(params=PACKAGES)
def made(request: pytest.FixtureRequest) -> Made:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Made)
    return found


def opened(made: Made) -> CoremlFile:
    return open_coreml(made.package / "model.pte")


def manifest_of(made: Made) -> Manifest:
    with open_package(made.package) as package:
        return package.manifest


def test_each_method_is_one_call_of_one_delegate_with_nothing_beside_it(made: Made) -> None:
    file = opened(made)
    assert len(file.packages) == 1
    for model in file.methods.values():
        assert [type(step) for step in model.method.instructions] == [DelegateCall]


def test_every_projection_is_a_linear_and_every_weight_a_compressed_constant(made: Made) -> None:
    config = manifest_of(made).model.config
    for model in opened(made).methods.values():
        kinds = Counter(operation.kind for operation in model.function.operations)
        assert kinds["linear"] == 7 * config.num_layers + len(row_chunks(config.vocab_size))
        assert kinds["constexpr_blockwise_shift_scale"] >= kinds["linear"]
        assert kinds["matmul"] <= 2 * config.num_layers + 1  # scores, values, and the choice of the last token


def test_a_second_method_adds_no_weights(tiny_ane: Made) -> None:
    file = opened(tiny_ane)
    assert set(file.methods) == {"prefill", "forward"}
    (files,) = file.packages.values()
    weights = next(content for path, content in files.items() if path.endswith("weight.bin"))
    matrices = sum(rows * columns for rows, columns in TINY.layer_matrices.values()) * TINY.num_layers
    codes = (matrices + TINY.vocab_size * TINY.dim) // 2
    assert codes < len(weights) < 1.6 * codes  # scales, norms, masks of alignment; not twice the codes


def test_names_and_shapes_are_the_layout_s_in_calling_order(tiny_ane: Made) -> None:
    manifest = manifest_of(tiny_ane)
    assert dict(manifest.methods) == static_methods(TINY, manifest.cache.layers, chunk=16, methods="two")
    for name, model in opened(tiny_ane).methods.items():
        declared = {value.name: value.shape for value in model.function.inputs}
        assert declared == {spec.name: spec.shape for spec in manifest.methods[name].inputs}


_LOWER_AGAIN = """
import sys
from pathlib import Path
from export.coreml.lower import lower_coreml
from export.plan import plan_export
from export.target import find_target
from model.checkpoint import read_info
checkpoint, out, target, context = sys.argv[1:]
info = read_info(Path(checkpoint))
plan = plan_export(info, find_target(target), max_context=int(context), prefill_chunk=16, bounded=False)
lower_coreml(Path(checkpoint), info, plan, Path(out))
"""


@pytest.mark.slow
def test_another_process_with_other_hashes_writes_the_same_bytes(tiny_gpu: Made, tmp_path: Path) -> None:
    out = tmp_path / "again.pte"
    argv = [sys.executable, "-c", _LOWER_AGAIN, tiny_gpu.checkpoint, out, "coreml-gpu", str(COREML_CONTEXT)]
    done = subprocess.run(
        list(map(str, argv)), cwd=ROOT, env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert out.read_bytes() == (tiny_gpu.package / "model.pte").read_bytes()
    assert b"coremltools" not in done.stderr and b"%|" not in done.stderr  # the converter's chatter


def test_identifiers_differ_between_programs(tiny_gpu: Made, tiny_ane: Made) -> None:
    """Phones keep what they have compiled under the identifier."""
    (first,), (second,) = opened(tiny_gpu).packages, opened(tiny_ane).packages
    assert first != second
