"""The native runner on aarch64, in qemu: our stand-in for a phone's processor."""

import json
import subprocess

import numpy as np
import pytest

from chat.window import Context
from export.manifest import read_manifest
from runner.build import runner_program
from runner.engine import CppRunner
from tests.arm import arm_sdk, arm_toolchain  # noqa: F401 (fixtures)
from tests.packages import CONTEXT, other_int4, tiny_bounded, tiny_float, tiny_int4  # noqa: F401 (fixtures)
from tests.runner.nano_package import nano_package  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def emulated(arm_toolchain):  # noqa: F811
    return arm_toolchain.command(runner_program(arm_toolchain))


@pytest.mark.parametrize("made", ["nano_package", "tiny_int4", "tiny_bounded", "other_int4"])
def test_golden_ids_come_out_on_aarch64_up_to_the_first_step_that_noise_can_turn(request, emulated, made):
    found = request.getfixturevalue(made)
    package = getattr(found, "package", found)
    golden = read_manifest((package / "manifest.json").read_bytes()).golden
    ids = ",".join(map(str, golden.prompt_ids))
    done = subprocess.run(
        [*emulated, "generate", str(package), "--ids", ids, "-n", str(len(golden.ids)), "--threads", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines[:-1]][: golden.compared] == list(golden.ids)[: golden.compared]
    assert lines[-1]["kernels"].startswith("own kernels, NEON")


def test_float_logits_agree_with_this_machines_past_the_window(emulated, tiny_float):  # noqa: F811
    context = Context(kind="endless", tokens=CONTEXT)
    ids = np.random.default_rng(4).integers(0, 320, 2 * CONTEXT + 7).tolist()
    found = []
    for command in (emulated, [str(runner_program())]):
        with CppRunner(command, tiny_float.package, context=context, threads=2) as runner:
            found.append(np.array(runner.logits(ids, 0)))
    # Two machines' sums of float32 differ as two orders of summation do (docs/numerics.md, float recipe).
    assert np.abs(found[0] - found[1]).max() <= 1e-5 * np.abs(found[1]).max()
