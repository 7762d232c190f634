"""The table of targets."""

import subprocess
import sys

import pytest

from export.target import TARGETS, find_target
from quant.recipe import RECIPES


def test_the_xnnpack_target_is_for_the_runtime_s_own_text_runner():
    target = find_target("xnnpack")
    assert (target.runner_kind, target.min_runtime, target.backend) == ("text-llm", "1.5.1", "XnnpackBackend")


def test_every_target_stands_under_its_own_name_and_names_real_recipes():
    for name, target in TARGETS.items():
        assert target.name == name
        assert set(target.recipes) <= set(RECIPES)
        assert 1 <= target.default_chunk < target.default_context
        assert set(target.compute_units) <= set(target.recipes)
        assert not set(target.refusals) & set(target.recipes)


def test_the_neural_engine_gets_no_groups_and_its_packages_are_linted() -> None:
    target = find_target("coreml-ane")
    assert "int4-group" not in target.schemes and "8da4w-g32" not in target.recipes
    assert [name for name, each in TARGETS.items() if each.has_lint] == ["coreml-ane"]


@pytest.mark.parametrize("given", ["xnpack", "XNNPACK", "xnnpack-arm"])
def test_a_misspelled_target_gets_the_nearest_name(given):
    with pytest.raises(
        ValueError, match=rf"unknown target '{given}'; did you mean 'xnnpack'\?; known: xnnpack, coreml-ane"
    ):
        find_target(given)


def test_a_target_far_from_all_gets_the_list_without_a_guess():
    with pytest.raises(
        ValueError, match=r"^unknown target 'vulkan'; known: xnnpack, coreml-ane, coreml-gpu, coreml-stateful$"
    ):
        find_target("vulkan")


def test_the_contract_loads_without_torch():
    code = (
        "import sys, export.target, export.manifest, export.package; "
        "print(sorted({'torch', 'numpy', 'executorch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
