"""The estimate of a CoreML package against the package that was made, and what it says without one."""

import pytest

from export.estimate import estimate
from export.manifest import read_manifest
from export.pte import read_pte

CASES = {
    "tiny_ane": {"target": "coreml-ane", "prefill_chunk": 16},
    "tiny_gpu": {"target": "coreml-gpu", "prefill_chunk": 16},
    "other_ane": {"target": "coreml-ane", "prefill_chunk": 16, "methods": "one"},
    "tiny_stateful": {"target": "coreml-stateful"},
}


@pytest.mark.parametrize("name", CASES)
def test_program_package_and_cache_are_what_was_estimated(name, request):
    made = request.getfixturevalue(name)
    found = estimate(str(made.checkpoint), max_context=96, **CASES[name])
    manifest = read_manifest((made.package / "manifest.json").read_bytes())
    program = len(read_pte(made.package / "model.pte").data)
    assert found.program.total == pytest.approx(program, rel=0.01)
    whole = sum(file.stat().st_size for file in made.package.iterdir())
    assert found.package_bytes == pytest.approx(whole, rel=0.01)
    assert found.plan.cache.bytes == manifest.cache.bytes == manifest.memory.cache_bytes
    assert found.phone.estimated_peak_bytes == pytest.approx(manifest.memory.estimated_peak_bytes, rel=0.001)


def test_the_recipe_is_what_the_target_holds_when_nobody_says_otherwise():
    assert estimate("nano", target="coreml-ane").recipe == "4w-channel"
    assert estimate("nano", target="coreml-gpu").recipe == "8da4w-g32"
    with pytest.raises(ValueError, match="coreml-ane cannot hold the recipe 8da4w-g32"):
        estimate("nano", target="coreml-ane", recipe="8da4w-g32")


def test_nothing_is_said_of_hosts_and_nothing_was_measured_on_a_phone():
    found = estimate("mobilellm-pro", target="coreml-ane")
    data = found.to_json()
    assert data["host_peak_bytes"] is None and data["memory"] is None
    assert "never measured on a phone" in data["phone_peak"]
    assert 500 << 20 < found.program.total < 600 << 20
    assert any("Core ML runs on no host" in note for note in found.notes)
