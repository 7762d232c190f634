"""Packages whose layers depart from their recipe by overrides: the file, its manifest and what is proved of it."""

import dataclasses
from pathlib import Path

import pytest

from export.export import expected_weights
from export.file_weights import read_weights
from export.golden import repeat_golden
from export.inspect import inspect_package
from export.integers import compare_integers
from export.layer_weights import name_weights, recipe_problems
from export.manifest import Manifest, read_manifest
from export.manifest_parts import LayerException
from export.plan import plan_export
from export.pte import read_pte
from export.target import TARGETS
from model.checkpoint import read_info
from quant.checkpoint import build_model, quantize_checkpoint
from quant.plan import read_plan
from quant.recipe import read_overrides
from tests.export.test_parity import bound, eager_rows, prompts, runner_of
from tests.packages import Made

MIXED = pytest.mark.parametrize(
    "name",
    [
        "tiny_mixed",
        pytest.param("other_mixed", marks=pytest.mark.slow),
        pytest.param("tiny_float_table", marks=pytest.mark.slow),
    ],
)


@pytest.fixture
def made(name: str, request: pytest.FixtureRequest) -> Made:
    return request.getfixturevalue(name)


def manifest_of(made: Made) -> Manifest:
    return read_manifest((made.package / "manifest.json").read_bytes())


@MIXED
def test_every_code_scale_and_float_of_the_file_is_the_checkpoints(made: Made) -> None:
    assert compare_integers(read_pte(made.package / "model.pte"), expected_weights(made.checkpoint)) == []


@MIXED
def test_strict_inspection_finds_each_layer_as_the_plan_has_it(made: Made) -> None:
    report = inspect_package(made.package)
    assert report.problems == ()
    plan = read_plan(made.checkpoint, read_info(made.checkpoint))
    for layer in report.layers:
        wanted = plan["embedding" if layer.name == "head" and "head" not in plan else layer.name]
        assert (layer.scheme, layer.group_size) == (wanted.scheme, wanted.group_size), layer.name
        rounds = layer.name != "embedding" and wanted.scheme != "float"
        assert layer.activations == ("int8-dynamic" if rounds else "float"), layer.name


@MIXED
def test_the_manifest_names_each_departure_with_its_reason(made: Made) -> None:
    plan = read_plan(made.checkpoint, read_info(made.checkpoint))
    recipe = manifest_of(made).recipe
    assert {layer: said.reason for layer, said in recipe.exceptions.items()} == {
        layer: scheme.reason for layer, scheme in plan.items() if scheme.reason
    }
    assert any(said.reason.startswith("override ") for said in recipe.exceptions.values())


@MIXED
def test_the_golden_prompt_is_repeated(made: Made) -> None:
    golden = manifest_of(made).golden
    assert repeat_golden(runner_of(made), golden) == golden.compared


@MIXED
def test_the_file_computes_what_the_converted_model_computes(made: Made) -> None:
    runner, model = runner_of(made), build_model(made.checkpoint)
    errors = []
    for ids in prompts(30, 8):
        rows = eager_rows(model, ids, "int8")
        errors.append(float((runner.logits(ids, 0) - rows[-1]).abs().max()) / bound(rows))
    assert sorted(errors)[15] <= 1.0, errors  # the median: docs/numerics.md


@MIXED
def test_a_manifest_that_says_another_scheme_is_a_problem(made: Made) -> None:
    manifest = manifest_of(made)
    weights = list(read_weights(read_pte(made.package / "model.pte")))
    layers, problems = name_weights(weights, manifest.model.config)
    assert problems == [] and recipe_problems(layers, manifest.recipe) == []
    for layer in manifest.recipe.exceptions:
        claim = LayerException(scheme="int4-group", bits=4, group_size=32, reason="a claim")
        claimed = dataclasses.replace(manifest.recipe, exceptions=manifest.recipe.exceptions | {layer: claim})
        assert any(problem.startswith(f"{layer}: the file holds ") for problem in recipe_problems(layers, claimed))


def test_a_scheme_that_the_target_cannot_hold_is_refused_by_layer(tiny_mixed: Made, tmp_path: Path) -> None:
    overrides = read_overrides(["layers.1.attention.*=int4-channel"])
    quantize_checkpoint(tiny_mixed.source, tmp_path / "out", overrides=overrides)
    with pytest.raises(
        ValueError, match=r"xnnpack cannot hold int4-channel layers \(layers\.1\.attention\.k_proj, .*it"
    ):
        plan_export(
            read_info(tmp_path / "out"), TARGETS["xnnpack"], max_context=None, prefill_chunk=None, bounded=False
        )
