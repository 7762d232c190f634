"""Constant methods of a static-kv program: read back from a file, held against the manifest, enough for the loop."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from chat.static_kv import Rope
from export.manifest import Manifest
from export.pte import read_pte
from export.static_constants import (
    constant_problems,
    is_coreml,
    loop_of_constants,
    loop_of_manifest,
    manifest_constants,
    read_constants,
)
from model.config import ModelConfig, RopeScaling
from tests.export.small_package import bare_manifest
from tests.export.static_standin import static_manifest
from tests.packages import OTHER, TINY

SCALED = dataclasses.replace(
    OTHER,
    rope_scaling=RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192),
    global_layers=(0, 1),
)
ONE_LAYER = dataclasses.replace(TINY, num_layers=1, global_layers=(0,))
CONFIGS = {"tiny": TINY, "other": OTHER, "scaled": SCALED, "one layer": ONE_LAYER}


def manifest_of(config: ModelConfig, **options: Any) -> Manifest:
    return static_manifest(config, context=96, chunk=16, **options)


def write_program(path: Path, constants: dict[str, Any]) -> None:
    """A program that adds, with these constant methods, by ExecuTorch's documented calls."""
    from executorch.exir import to_edge

    class Add(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    exported = torch.export.export(Add(), (torch.ones(2),))
    path.write_bytes(to_edge(exported, constant_methods=constants).to_executorch().buffer)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_to_a_program_comes_back_and_is_all_that_the_loop_needs(name, tmp_path):
    manifest = manifest_of(CONFIGS[name], bounded=name == "other", methods="one" if name == "tiny" else "two")
    write_program(tmp_path / "a.pte", manifest_constants(manifest))
    constants = read_constants(read_pte(tmp_path / "a.pte"))
    assert constant_problems(constants, manifest) == []
    assert loop_of_constants(constants) == loop_of_manifest(manifest)


def test_executorch_itself_gives_them_back(tmp_path):
    from executorch.runtime import Runtime

    expected = manifest_constants(manifest_of(OTHER))
    write_program(tmp_path / "a.pte", expected)
    program = Runtime.get().load_program(tmp_path / "a.pte")
    for name, value in expected.items():
        found = list(program.load_method(name).execute(()))
        assert found == (value if isinstance(value, list) else [value]), name


def test_the_loop_of_a_manifest_says_what_the_manifest_says():
    program = loop_of_manifest(manifest_of(SCALED))
    assert (program.chunk, program.has_prefill, program.vocab_size) == (16, True, 320)
    assert (program.slots, program.is_global) == ((96, 96), (True, True))
    assert (program.temperature_floor, program.temperature_scale) == (16, 0.1)
    assert program.rope == Rope(
        theta=10_000.0, head_dim=32, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192
    )
    local = loop_of_manifest(manifest_of(TINY, bounded=True, methods="one"))
    assert (local.slots, local.is_global, local.has_prefill) == ((64, 96), (False, True), False)
    assert (local.context.kind, local.context.tokens, local.temperature_floor) == ("bounded", 96, 0)


def test_a_temperature_that_no_layer_uses_is_no_input():
    config = dataclasses.replace(TINY, temperature_floor=16, temperature_scale=0.1)
    manifest = manifest_of(config)
    assert all(spec.name != "temperature" for spec in manifest.methods["forward"].inputs)
    assert loop_of_manifest(manifest).temperature_floor == 0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "pocketlm_rope_theta",
            500_000.0,
            "constant method pocketlm_rope_theta is 500000.0; the manifest makes it 10000.0",
        ),
        ("pocketlm_cache_slots", [64, 95], r"pocketlm_cache_slots is [64, 95]; the manifest makes it [64, 96]"),
        ("pocketlm_is_endless", False, "pocketlm_is_endless is False; the manifest makes it True"),
        ("pocketlm_is_endless", 1, "pocketlm_is_endless is 1; the manifest makes it True"),
        ("get_max_seq_len", 17, "get_max_seq_len is 17; the manifest makes it 16"),
        ("get_eos_ids", 2, "get_eos_ids is 2; the manifest makes it [2, 3]"),
        ("pocketlm_prefill_inputs", None, "the program has no constant method pocketlm_prefill_inputs"),
        ("pocketlm_hologram", 1, "has a constant method pocketlm_hologram that the manifest knows nothing of"),
    ],
)
def test_a_constant_method_that_differs_from_the_manifest_is_named(name, value, says):
    manifest = manifest_of(TINY)
    constants = {k: v for k, v in (manifest_constants(manifest) | {name: value}).items() if v is not None}
    (problem,) = constant_problems(constants, manifest)
    assert says in problem


def test_other_constant_methods_are_left_alone():
    manifest = manifest_of(TINY)
    assert constant_problems(manifest_constants(manifest) | {"get_n_layers": 2}, manifest) == []


def test_a_loop_refuses_a_program_of_another_kind():
    constants = manifest_constants(manifest_of(TINY))
    del constants["pocketlm_cache_slots"]
    with pytest.raises(ValueError, match="no constant method pocketlm_cache_slots; export it again"):
        loop_of_constants(constants)
    with pytest.raises(ValueError, match="needs a newer pocketlm: format 2, this one reads 1"):
        loop_of_constants(manifest_constants(manifest_of(TINY)) | {"pocketlm_format": 2})
    with pytest.raises(ValueError, match="needs a 'text-llm' runner"):
        loop_of_manifest(bare_manifest())
    assert not is_coreml(bare_manifest())
