"""What `inspect` says of CoreML packages: layers, operations, caches, and every byte."""

import dataclasses
import json

import pytest

from export.byte_map_coreml import COREML_CATEGORIES, count_coreml_bytes
from export.inspect import inspect_package, inspect_program
from export.manifest import read_manifest
from export.pte import read_pte
from quant.checkpoint import load_quantized
from quant.integers import QuantizedTensor
from tests.export.changed_coreml import open_program

KINDS = ("tiny_ane", "tiny_gpu", "other_ane", "tiny_stateful")


@pytest.fixture(params=KINDS)
def made(request):
    return request.getfixturevalue(request.param)


def problems_with(made, **changes) -> list[str]:
    """What is said of the program when the manifest claims something else."""
    manifest = read_manifest((made.package / "manifest.json").read_bytes())
    report = inspect_program(
        read_pte(made.package / "model.pte"), dataclasses.replace(manifest, **changes), source="x", files=()
    )
    return list(report.problems)


def test_a_package_is_listed_with_layers_caches_and_operations_and_has_no_problem(made):
    report = inspect_package(made.package)
    manifest = read_manifest((made.package / "manifest.json").read_bytes())
    assert report.problems == () and set(report.delegates) == {"CoreMLBackend"}
    assert {layer.scheme for layer in report.layers} <= {"int4-channel", "int4-group", "int8-channel"}
    assert [layer.name for layer in report.layers][::15] == ["embedding", "head"]
    assert [cache.slots for cache in report.caches] == [64, 96]
    assert report.cache_bytes == manifest.cache.bytes
    uses = {use.operator: use for use in report.operators}
    assert uses["linear"].count == 15 * len(manifest.methods) and all(
        u.backend == "CoreMLBackend" for u in uses.values()
    )
    assert "no problem" in "\n".join(report.lines())
    json.dumps(report.to_json())


def test_every_byte_of_a_package_is_accounted_for(made):
    counts = count_coreml_bytes(open_program(made.package))
    assert tuple(counts) == COREML_CATEGORIES
    assert sum(counts.values()) == (made.package / "model.pte").stat().st_size
    assert counts["other"] == 0 and counts["padding"] < 4096
    tensors = [t for t in load_quantized(made.checkpoint).values() if isinstance(t, QuantizedTensor)]
    assert counts["codes"] == sum(t.codes.numel() * t.scheme.bits // 8 for t in tensors)  # a tied table once
    assert counts["scales"] == sum(2 * t.scales.numel() for t in tensors)
    assert counts["norms"] == 2 * 5 * 64


def test_a_bare_program_is_listed_by_its_operations(tiny_gpu):
    report = inspect_package(tiny_gpu.package / "model.pte")
    assert report.problems == () and len(report.layers) == 16 and report.recipe is None


def test_what_the_manifest_says_otherwise_is_a_problem(tiny_ane):
    manifest = read_manifest((tiny_ane.package / "manifest.json").read_bytes())
    kinds = dict(manifest.recipe.layers)
    kinds["attention.q_proj"] = dataclasses.replace(kinds["attention.q_proj"], scheme="int8-channel", bits=8)
    recipe = dataclasses.replace(manifest.recipe, layers=kinds)
    assert problems_with(tiny_ane, recipe=recipe)[0] == (
        "layers.0.attention.q_proj: the file holds int4-channel, the manifest says int8-channel"
    )
    assert any("get_max_seq_len" in line for line in problems_with(tiny_ane, chunk=8))
    layers = (dataclasses.replace(manifest.cache.layers[0], slots=63), manifest.cache.layers[1])
    wrong = problems_with(tiny_ane, cache=dataclasses.replace(manifest.cache, layers=layers))
    assert any(line.startswith("layer 0: the cache is 64 slots of float16") for line in wrong)


def test_groups_on_the_neural_engine_are_a_problem_unless_the_export_was_told_to_allow_them(tiny_gpu):
    found = problems_with(tiny_gpu, target="coreml-ane")
    assert any("rule block-scales of the Neural Engine" in line for line in found)
    manifest = read_manifest((tiny_gpu.package / "manifest.json").read_bytes())
    allowed = dataclasses.replace(manifest.origin, command=manifest.origin.command + " --allow-lint block-scales")
    assert problems_with(tiny_gpu, target="coreml-ane", origin=allowed) == []


def test_people_see_the_beginning_of_a_long_list_and_json_has_it_whole(tiny_ane):
    report = inspect_package(tiny_ane.package)
    names = report.to_json()["constants"]["pocketlm_forward_inputs"]
    line = next(line for line in report.lines() if "pocketlm_forward_inputs" in line)
    assert len(names) == 10
    assert line == "  pocketlm_forward_inputs = [tokens, last, cos, sin, mask_local, mask_global, ... 10 in all]"
