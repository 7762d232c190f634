"""A lowered file, executed, against the modules that were lowered and the cache-free model; and forgeries are seen."""

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from export.coreml.lower import lower_coreml
from export.manifest import Manifest
from export.mil.container import open_coreml
from export.mil.execute import MilExecutor
from export.mil.values import Blob, Constant
from export.package import open_package
from export.plan import plan_export
from export.static_runner import StatefulRunner, StaticRunner
from export.target import find_target
from model.checkpoint import read_info
from model.errors import GateError
from quant.checkpoint import quantize_checkpoint
from tests.export.coreml.eager import EagerCoreml, reference_model
from tests.export.mil.small_models import changed, main_block, weights_place
from tests.export.static_standin import static_manifest, windowed_logits
from tests.packages import COREML_CONTEXT, TINY, Made, make_checkpoint

CHUNK = 16
PROMPT, STEPS = 3 * CHUNK + 5, 60  # ids 0..112: past the window of 64 and past the context of 96
# Largest error over the logits' scale. fp32: float32's rounding in another order. fp16: measured below 1.4e-3.
FP32, FP16 = 1e-5, 5e-3


def some_ids(count: int = PROMPT + STEPS) -> list[int]:
    return torch.randint(0, TINY.vocab_size, (count,), generator=torch.Generator().manual_seed(3)).tolist()


def manifest_of(made: Made) -> Manifest:
    with open_package(made.package) as package:
        return package.manifest


def run(runner: StaticRunner | StatefulRunner, ids: list[int]) -> Tensor:
    """Logits [1 + STEPS, V] of a prompt and of each step after it."""
    logits = [runner.logits(ids[:PROMPT], 0)]
    return torch.stack(logits + [runner.logits([ids[at]], at) for at in range(PROMPT, len(ids))])


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def agree_where_sure(found: Tensor, expected: Tensor, floor: float) -> bool:
    """The same best id at every step whose margin exceeds twice what rounding moves a logit."""
    best = expected.topk(2).values
    sure = best[:, 0] - best[:, 1] > 2 * floor
    assert sure.sum() > len(sure) // 2
    return bool((found.argmax(-1) == expected.argmax(-1))[sure].all())


@pytest.fixture(scope="module")
def twin(tiny_gpu: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny_gpu's program in float32."""
    out = tmp_path_factory.mktemp("twin") / "twin.pte"
    info = read_info(tiny_gpu.checkpoint)
    target = find_target("coreml-gpu")
    plan = plan_export(info, target, max_context=COREML_CONTEXT, prefill_chunk=CHUNK, bounded=False)
    lower_coreml(tiny_gpu.checkpoint, info, plan, out, precision="fp32")
    return out


@pytest.mark.slow
def test_a_table_in_three_chunks_is_one_table_at_every_edge(tmp_path: Path) -> None:
    """40,000 rows: ids around both cuts and around 2^15, where an int16 ends; the converter casts ids to 16 bits."""
    config = dataclasses.replace(TINY, vocab_size=40_000, dim=32, head_dim=8, num_layers=1, global_layers=())
    make_checkpoint(config, tmp_path / "c", own_norms=True)
    quantize_checkpoint(tmp_path / "c", tmp_path / "q", recipe="4w-channel")
    info = read_info(tmp_path / "q")
    plan = plan_export(info, find_target("coreml-ane"), max_context=96, prefill_chunk=CHUNK, bounded=False)
    lower_coreml(tmp_path / "q", info, plan, tmp_path / "wide.pte")
    executor = MilExecutor(tmp_path / "wide.pte", precision="fp32")
    eager = EagerCoreml(tmp_path / "q", static_manifest(config, context=96, chunk=CHUNK))
    method = static_manifest(config, context=96, chunk=CHUNK).methods["forward"]
    inputs = [np.ones(spec.shape, dtype=np.int32 if spec.dtype == "int32" else np.float32) for spec in method.inputs]
    for token in (0, 13_333, 13_334, 26_666, 26_667, 32_767, 32_768, 39_999):
        inputs[0] = np.full((1, 1), token, dtype=np.int32)
        for mine, theirs in zip(executor.execute("forward", inputs), eager.execute("forward", inputs), strict=True):
            # the file's constants are float16, the module's are not; another row would differ by its own size
            np.testing.assert_allclose(mine, theirs, atol=1e-3 * np.abs(theirs).max(), rtol=0)


def twin_logits(pte: Path, manifest: Manifest, count: int = PROMPT + STEPS) -> Tensor:
    executor = MilExecutor(pte, precision="fp32")
    return run(StaticRunner(executor, manifest, precision="fp32"), some_ids(count))


def test_the_float32_twin_is_the_cache_free_model_over_chunks_decodes_and_a_wrap(twin: Path, tiny_gpu: Made) -> None:
    expected = windowed_logits(reference_model(tiny_gpu.checkpoint), some_ids(), context=COREML_CONTEXT)
    found = twin_logits(twin, manifest_of(tiny_gpu))
    assert difference(found, expected[PROMPT - 1 :]) < FP32


def test_each_output_of_the_twin_is_the_lowered_module_s(twin: Path, tiny_gpu: Made) -> None:
    """Random inputs to each method: keys and values too, not only what reaches the logits."""
    manifest = manifest_of(tiny_gpu)
    eager, executor = EagerCoreml(tiny_gpu.checkpoint, manifest), MilExecutor(twin, precision="fp32")
    random = np.random.default_rng(1)
    for name, method in manifest.methods.items():
        inputs = [
            random.integers(0, TINY.vocab_size, spec.shape, dtype=np.int32)
            if spec.dtype == "int32"
            else random.standard_normal(spec.shape).astype(np.float32)
            for spec in method.inputs
        ]
        found, wanted = executor.execute(name, inputs), eager.execute(name, inputs)
        assert [array.shape for array in found] == [spec.shape for spec in method.outputs]
        for mine, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=FP32 * np.abs(theirs).max(), rtol=0)


@pytest.mark.parametrize("which", ["tiny_gpu", "tiny_ane", "other_ane"])
def test_the_float16_simulation_keeps_the_best_id_wherever_the_model_is_sure(
    which: str, request: pytest.FixtureRequest
) -> None:
    made: Made = request.getfixturevalue(which)
    manifest = manifest_of(made)
    expected = windowed_logits(reference_model(made.checkpoint), some_ids(), context=COREML_CONTEXT)[PROMPT - 1 :]
    found = run(StaticRunner(MilExecutor(made.package / "model.pte"), manifest), some_ids())
    error = difference(found, expected)
    assert 1e-5 < error < FP16  # not zero either: it does round
    assert agree_where_sure(found, expected, float((found - expected).abs().max()))


def test_the_stateful_program_keeps_its_caches_and_starts_over(tiny_stateful: Made) -> None:
    manifest = manifest_of(tiny_stateful)
    ids = some_ids()[:COREML_CONTEXT]
    expected = windowed_logits(reference_model(tiny_stateful.checkpoint), ids, context=COREML_CONTEXT)[PROMPT - 1 :]
    executor = MilExecutor(tiny_stateful.package / "model.pte")
    runner = StatefulRunner(executor, manifest)
    first = run(runner, ids)
    assert difference(first, expected) < FP16
    runner.reset()
    assert torch.equal(run(runner, ids), first)
    executor.reset_state()
    blank = [np.zeros((1, 1), dtype=np.int64), np.zeros(1, dtype=np.int64)]
    again = executor.execute("forward", blank)[0]
    assert np.array_equal(executor.execute("forward", blank)[0], again)  # position 0 sees nothing older


def codes_place(pte: Path) -> tuple[int, int]:
    """Where the first INT4 weight's bytes stand in the file."""
    model = open_coreml(pte).methods["forward"]
    for operation in model.function.operations:
        for data in operation.inputs.get("data", ()):
            if isinstance(data, Constant) and isinstance(data.content, Blob) and data.dtype == "int4":
                place = weights_place(pte)[0]
                size, start = struct.unpack_from("<QQ", model.weights.data, data.content.offset + 8)
                return place + start, place + start + size
    raise AssertionError("no INT4 weight")


def flipped_codes(pte: Path, out: Path) -> Path:
    data = bytearray(pte.read_bytes())
    start, end = codes_place(pte)
    for at in range(start, min(start + 64, end)):
        data[at] ^= 0x77
    out.write_bytes(data)
    return out


def swapped_subtraction(pte: Path, out: Path) -> Path:
    def swap(spec: object) -> None:
        operation = next(o for o in main_block(spec).operations if o.type == "sub")
        x, y = operation.inputs["x"].arguments[0].name, operation.inputs["y"].arguments[0].name
        operation.inputs["x"].arguments[0].name, operation.inputs["y"].arguments[0].name = y, x

    return changed(pte, out, swap)


def swapped_concat(pte: Path, out: Path) -> Path:
    def swap(spec: object) -> None:
        kinds = [o for o in main_block(spec).operations if o.type == "concat"]
        operation = next(o for o in kinds if any("cache" in a.name for a in o.inputs["values"].arguments))
        first, second = (argument.name for argument in operation.inputs["values"].arguments)
        operation.inputs["values"].arguments[0].name, operation.inputs["values"].arguments[1].name = second, first

    return changed(pte, out, swap)


@pytest.mark.parametrize("forge", [flipped_codes, swapped_subtraction, swapped_concat])
def test_a_forgery_moves_the_logits_far_beyond_the_tolerance(
    twin: Path, tiny_gpu: Made, tmp_path: Path, forge: Callable[[Path, Path], Path]
) -> None:
    manifest = manifest_of(tiny_gpu)
    honest = twin_logits(twin, manifest, PROMPT + 3)
    assert difference(twin_logits(forge(twin, tmp_path / "forged.pte"), manifest, PROMPT + 3), honest) > 100 * FP32


def test_a_ring_written_one_slot_off_is_seen(twin: Path, tiny_gpu: Made) -> None:
    """The loop's own mistake: every new row lands one slot further."""
    manifest = manifest_of(tiny_gpu)
    executor = MilExecutor(twin, precision="fp32")
    runner = StaticRunner(executor, manifest, precision="fp32")
    ids = some_ids(PROMPT + 3)
    honest = run(StaticRunner(MilExecutor(twin, precision="fp32"), manifest, precision="fp32"), ids)
    names = [spec.name for spec in manifest.methods["prefill"].inputs]
    at = names.index("k_cache_0")
    execute = executor.execute

    def shifted(method: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        moved = [np.roll(array, 1, axis=2) if index == at else array for index, array in enumerate(inputs)]
        return execute(method, moved)

    executor.execute = shifted  # type: ignore[method-assign]
    assert difference(run(runner, ids), honest) > 100 * FP32


def test_a_scale_too_large_for_float16_activations_is_named(tiny_gpu: Made, tmp_path: Path) -> None:
    """Every scale of one projection becomes 60,000: codes of eight times that leave float16."""
    pte = tiny_gpu.package / "model.pte"
    model = open_coreml(pte).methods["forward"]
    name = next(o.inputs["weight"][0] for o in model.function.operations if o.kind == "linear")
    weight = next(o for o in model.function.operations if o.outputs[0].name == name)
    scale = weight.inputs["scale"][0]
    assert isinstance(scale, Constant) and isinstance(scale.content, Blob)
    size, start = struct.unpack_from("<QQ", model.weights.data, scale.content.offset + 8)
    place = weights_place(pte)[0] + start
    data = bytearray(pte.read_bytes())
    data[place : place + size] = np.full(size // 2, 2_000, dtype=np.float16).tobytes()
    (tmp_path / "loud.pte").write_bytes(data)
    runner = StaticRunner(MilExecutor(tmp_path / "loud.pte"), manifest_of(tiny_gpu))
    with pytest.raises(
        GateError, match=r"operation \S+ \(\w+\) of method prefill reaches [\d,]+; float16 ends at 65,504"
    ):
        runner.logits(some_ids()[:PROMPT], 0)
