"""A CoreML package against its checkpoint: what is equal passes, what was changed inside is refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from chat.static_kv import Call
from export.checkpoint_weights import open_weights
from export.coreml.lower import lower_coreml
from export.coreml_calls import call_sizes
from export.coreml_integers import integer_problems
from export.coreml_verify import verify_execution
from export.coreml_weights import CoremlScalar
from export.manifest import read_manifest
from export.mil.values import Blob
from export.plan import plan_export
from export.target import find_target
from export.verify import compare_package, verify_package
from model.checkpoint import read_info
from model.errors import GateError
from tests.export.changed_coreml import (
    change_coreml,
    constants,
    exchange,
    flip_bytes,
    open_program,
    operation_messages,
    place_in,
    swap_inputs,
    swappable,
)
from tests.export.changed_package import change_checkpoint, change_json, flip
from tests.packages import TINY, Made

Q0, K0, V0 = (f"layers.0.attention.{part}_proj" for part in "qkv")
OF_A_LAYER = {"q": 0, "k": 1, "v": 2, "o": 3, "gate": 4, "up": 5, "down": 6}


def manifest_of(made: Made):
    return read_manifest((made.package / "manifest.json").read_bytes())


def refused(package: Path, made: Made, *, steps: int | None = None) -> str:
    """The refusal of a forged package, whose own hashes are right."""
    with pytest.raises(GateError) as raised:
        verify_package(package, made.checkpoint, steps=steps)
    return str(raised.value)


def test_a_package_is_verified_by_its_integers_and_by_execution_past_its_rings(tiny_ane):
    certificate = verify_package(tiny_ane.package, tiny_ane.checkpoint)
    assert certificate.is_equal and certificate.matrices == 15 and certificate.named_by_manifest
    execution = certificate.execution
    assert execution is not None
    assert set(execution.methods) == {"prefill", "forward"} and min(execution.methods.values()) > 4
    assert execution.wrapped == (64, 96) and execution.not_wrapped == ()
    assert execution.error_fp32 <= execution.bound_fp32 == 1e-5 * execution.scale
    assert execution.compared > execution.calls // 2
    assert 0 < execution.peak < 65_504 and len(execution.peaks) > 100
    data = json.loads(json.dumps(certificate.to_json()))
    assert data["execution"]["wrapped"] == [64, 96]
    text = "\n".join(certificate.lines())
    assert "past the end of the rings of 64 and 96 slots" in text and "only an iPhone or a Mac shows" in text


def test_every_kind_of_coreml_package_passes(tiny_gpu, other_ane, tiny_stateful, tiny_ane_learned):
    for made, matrices in ((tiny_gpu, 15), (other_ane, 16), (tiny_stateful, 15), (tiny_ane_learned, 15)):
        certificate = verify_package(made.package, made.checkpoint)
        assert certificate.is_equal and certificate.matrices == matrices and certificate.execution is not None


def test_learned_scales_are_in_the_package(tiny_ane_learned):
    certificate = verify_package(tiny_ane_learned.package, tiny_ane_learned.source, steps=1)
    assert certificate.checkpoint_kind == "trained" and certificate.learned_scales == 15


def test_steps_say_how_much_is_executed_and_the_certificate_what_is_not(tiny_ane):
    none = verify_package(tiny_ane.package, tiny_ane.checkpoint, steps=0)
    assert none.execution is None and any("nothing was executed (--steps 0)" in line for line in none.not_compared)
    one = verify_package(tiny_ane.package, tiny_ane.checkpoint, steps=1).execution
    assert one is not None and (one.methods, one.tokens) == ({"forward": 1}, 1)
    assert one.not_wrapped == (64, 96) and one.golden is None
    manifest = manifest_of(tiny_ane)
    assert len(call_sizes(manifest, 200)) == 200
    assert sum(call_sizes(manifest)) > 96 + 2


def test_steps_of_another_backend_are_bad_input(tiny_int4):
    with pytest.raises(ValueError, match="--steps is for CoreML packages"):
        compare_package(tiny_int4.package, tiny_int4.checkpoint, steps=3)


# negative controls: bytes changed inside the program, all hashes made right


@pytest.mark.parametrize(("layer", "part"), [(0, "q"), (1, "v"), (1, "down")])
def test_flipped_int4_bytes_name_their_layer(tiny_ane, tmp_path, layer, part):
    file = open_program(tiny_ane.package)
    weight = constants(file).linears[7 * layer + OF_A_LAYER[part]]
    forged = change_coreml(tiny_ane.package, tmp_path / "forged", flip_bytes(file, weight.content, 64, start=128))
    kind = "attention" if part in "qkvo" else "feed_forward"
    assert f"layers.{layer}.{kind}.{part}_proj: 64 of" in refused(forged, tiny_ane)


def test_a_flipped_code_of_the_tied_table_names_both_its_uses(tiny_gpu, tmp_path):
    file = open_program(tiny_gpu.package)
    table = constants(file).gathers[0]
    assert constants(file).linears[-1].place == table.place  # stored once
    forged = change_coreml(tiny_gpu.package, tmp_path / "forged", flip_bytes(file, table.content, 1))
    message = refused(forged, tiny_gpu)
    assert "embedding: 1 of 20480 codes differ, first at [0, 0]" in message


def test_an_altered_scale_names_its_layer(tiny_gpu, tmp_path):
    file = open_program(tiny_gpu.package)
    weight = constants(file).linears[OF_A_LAYER["up"]]
    forged = change_coreml(tiny_gpu.package, tmp_path / "forged", flip_bytes(file, weight.scale_content, 1, start=10))
    assert "layers.0.feed_forward.up_proj: 1 of 192 scales are not the checkpoint's as float16" in refused(
        forged, tiny_gpu
    )


def test_an_altered_norm_names_it(tiny_ane, tmp_path):
    file = open_program(tiny_ane.package)
    norm = [vector for vector in constants(file).vectors if vector.kind == "mul"][1]
    content = file.methods["forward"].weights.content(norm.offset, norm.dtype, norm.shape)
    forged = change_coreml(tiny_ane.package, tmp_path / "forged", flip_bytes(file, content, 1, start=6))
    assert "layers.0.feed_forward_norm: 1 of 64 weights are not the checkpoint's" in refused(forged, tiny_ane)


def place_of_scalar(file, method: str, scalar: CoremlScalar) -> int:
    """Where a scalar's bytes stand in the program's text, or in the file of weights."""
    model = file.methods[method]
    operation = next(o for o in model.function.operations if o.name == scalar.operation)
    argument = operation.inputs[scalar.argument][0]
    if isinstance(argument, str):
        made = next(o for o in model.function.operations if o.outputs and o.outputs[0].name == argument)
        argument = made.attributes["val"]
    if isinstance(argument.content, Blob):
        return place_in(file, model.weights.content(argument.content.offset, argument.dtype, argument.shape))
    return place_in(file, memoryview(np.atleast_1d(argument.content)))


def test_an_altered_epsilon_and_an_altered_query_scale_name_their_operation(tiny_ane, tmp_path):
    file = open_program(tiny_ane.package)
    products = [scalar for scalar in constants(file).scalars if scalar.kind == "mul"]
    for number, value in enumerate((float(np.float16(TINY.norm_eps**0.5)), float(np.float16(TINY.head_dim**-0.5)))):
        scalar = next(scalar for scalar in products if scalar.value == value)
        change = flip(place_of_scalar(file, "forward", scalar), 8)
        forged = change_coreml(tiny_ane.package, tmp_path / str(number), change)
        assert f"method forward: operation {scalar.operation} (mul) takes" in refused(forged, tiny_ane)


def test_two_layers_of_one_shape_that_changed_places_are_named(tiny_ane, tmp_path):
    file = open_program(tiny_ane.package)
    found = constants(file).linears
    forged = change_coreml(tiny_ane.package, tmp_path / "forged", exchange(file, found[1], found[2]))
    problems = compare_package(forged, tiny_ane.checkpoint).problems
    assert {line.split(":")[0] for line in problems} == {K0, V0}
    assert any(line.startswith(f"{V0}: its numbers stand where {K0} is used") for line in problems)
    gate, up = found[4], found[5]
    forged = change_coreml(tiny_ane.package, tmp_path / "again", exchange(file, gate, up))
    assert "layers.0.feed_forward.gate_proj: " in refused(forged, tiny_ane)


@pytest.mark.parametrize(("method", "layer"), [("forward", 0), ("forward", 1), ("prefill", 1)])
def test_swapped_inputs_of_an_operation_show_in_execution_alone_and_name_layer_and_operation(
    tiny_ane, tmp_path, method, layer
):
    file = open_program(tiny_ane.package)
    operation, x, y = swappable(file, method, "sub", layer)
    forged = change_coreml(tiny_ane.package, tmp_path / "forged", swap_inputs(file, method, operation, x, y))
    assert integer_problems(forged / "model.pte", tiny_ane.checkpoint) == []
    problems = compare_package(forged, tiny_ane.checkpoint).problems
    assert any(
        f"the fault lies in layers.{layer} behind its" in line for line in problems
    )  # it is the queries' rotation
    assert any(line.startswith(f"layers.{layer}: operation {operation.name} of") for line in problems)


def test_a_ring_that_is_off_by_one_shows_in_execution(tiny_ane, monkeypatch):
    right = Call.slots
    monkeypatch.setattr(Call, "slots", lambda call, slots: [(slot + 1) % slots for slot in right(call, slots)])
    weights = open_weights(tiny_ane.checkpoint)
    _, problems = verify_execution(tiny_ane.package / "model.pte", manifest_of(tiny_ane), weights)
    assert any(line.startswith("logits: in float32") for line in problems)


def test_a_ring_inside_a_stateful_program_that_is_off_by_one_shows_in_execution(tiny_stateful, tmp_path):
    file = open_program(tiny_stateful.package)
    place = place_of_modulus(file, TINY.sliding_window)
    forged = change_coreml(tiny_stateful.package, tmp_path / "forged", flip(place, 64 ^ 63))
    assert integer_problems(forged / "model.pte", tiny_stateful.checkpoint) == []
    problems = compare_package(forged, tiny_stateful.checkpoint).problems
    assert any(line.startswith("logits: in float32") and "position 6" in line for line in problems)


def place_of_modulus(file, slots: int) -> int:
    """Where the number of slots stands by which a position is divided."""
    operations = {name: message for message, name in operation_messages(file, "forward")}
    for operation in file.methods["forward"].function.operations:
        argument = operation.inputs.get("y", (None,))[0]
        if operation.kind in ("mod", "floor_div") and isinstance(argument, str):
            content = operations[argument].entries(5)["val"].message(3).message(1).message(2).content(1)
            if bytes(content) == bytes([slots]):
                return place_in(file, content)
    raise AssertionError("nothing is divided by the number of slots")


@pytest.mark.slow
def test_the_float32_twin_of_a_program_is_the_eager_model_to_the_last_digits(tiny_ane, tmp_path):
    info, manifest = read_info(tiny_ane.checkpoint), manifest_of(tiny_ane)
    plan = plan_export(info, find_target("coreml-ane"), max_context=96, prefill_chunk=16, bounded=False)
    lower_coreml(tiny_ane.checkpoint, info, plan, tmp_path / "twin.pte", precision="fp32")
    weights = open_weights(tiny_ane.checkpoint)
    assert integer_problems(tmp_path / "twin.pte", tiny_ane.checkpoint) == []
    _, problems = verify_execution(tmp_path / "twin.pte", manifest, weights)
    assert problems == []


def test_a_constant_method_that_says_otherwise_than_the_manifest_is_named(tiny_ane, tmp_path):
    package = change_manifest(tiny_ane, tmp_path, lambda data: data["model"]["config"].update(rope_theta=20_000.0))
    assert "pocketlm_rope_theta" in " ".join(compare_package(package, tiny_ane.checkpoint, steps=0).problems)


def change_manifest(made: Made, out: Path, change) -> Path:
    package = Path(shutil.copytree(made.package, out / "package"))
    change_json(package / "manifest.json", change)
    return package


def test_a_scale_that_changed_in_the_checkpoint_is_named(tiny_ane, tmp_path):
    def change(tensors):
        tensors[f"{Q0}.scales"][3, 0] *= 1.01

    other = change_checkpoint(tiny_ane.checkpoint, tmp_path / "other", change)
    assert f"{Q0}: 1 of 128 scales" in refused(tiny_ane.package, Made(checkpoint=other, package=tiny_ane.package))
