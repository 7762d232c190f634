"""What `quantize` and the readers of its checkpoints refuse: each with one line that names the layer or the file."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_model, open_tensors, read_info, write_checkpoint
from model.errors import EnvironmentFault
from quant.checkpoint import build_model, load_quantized, quantize_checkpoint

DOWN = "layers.0.feed_forward.down_proj"
Q = "layers.0.attention.q_proj"

Write = Callable[..., Path]


def edit_layer(folder: Path, layer: str, change: dict[str, object]) -> None:
    data = json.loads((folder / "checkpoint.json").read_text())
    data["quantization"]["layers"][layer] |= change
    (folder / "checkpoint.json").write_text(json.dumps(data))


@pytest.mark.parametrize("layer, scale, message", [
    (Q, torch.ones(64, 1), rf"layer {Q}: learned scales have shape \[64, 1\]; .* needs \[64, 2\]; quantize with"),
    (Q, torch.zeros(64, 2), rf"layer {Q}: learned scales must be positive and finite"),
    (DOWN, torch.ones(64, 1), rf"layer {DOWN} has learned scales \[64, 1\], but the recipe keeps it in int8-channel"),
])  # fmt: skip
def test_learned_scales_that_do_not_fit_the_recipe_are_refused_by_layer(
    write: Write, tmp_path: Path, layer: str, scale: torch.Tensor, message: str
) -> None:
    source = write(learned=True, change=lambda tensors: tensors.update({f"{layer}.weight_scale": scale}))
    with pytest.raises(ValueError, match=message):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    assert not (tmp_path / "out").exists()


def test_a_learned_scale_of_no_layer_is_refused_by_name(write: Write, tmp_path: Path) -> None:
    source = write(change=lambda tensors: tensors.update({"norm.weight_scale": torch.ones(1)}))
    with pytest.raises(ValueError, match=r"unexpected tensors: norm\.weight_scale"):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")


def test_a_quantized_checkpoint_is_refused(write: Write, tmp_path: Path) -> None:
    quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32")
    with pytest.raises(ValueError, match=r"out is quantized already \(8da4w-g32\); .* give the float checkpoint"):
        quantize_checkpoint(tmp_path / "out", tmp_path / "again", recipe="8da4w-g32")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name_and_leave_nothing(
    write: Write, tmp_path: Path, bad: float
) -> None:
    source = write(change=lambda tensors: tensors[f"{Q}.weight"].view(-1)[3:4].fill_(bad))
    with pytest.raises(ValueError, match=f"tensor '{Q}.weight' holds"):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("change, message", [
    (lambda tensors: tensors.pop(f"{Q}.weight"), f"missing tensors: {Q}.weight"),
    (lambda tensors: tensors.update(surplus=torch.ones(2)), "unexpected tensors: surplus"),
    (lambda tensors: tensors.update({f"{Q}.weight": torch.ones(2, 2)}), rf"'{Q}.weight' has the shape \[2, 2\]"),
])  # fmt: skip
def test_every_tensor_is_accounted_for(
    write: Write, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_checkpoint(write(change=change), tmp_path / "out", recipe="8da4w-g32")


def test_an_existing_output_needs_overwrite_and_stays_until_the_new_one_is_whole(write: Write, tmp_path: Path) -> None:
    source = write()
    quantize_checkpoint(source, tmp_path / "out", recipe="float")
    with pytest.raises(ValueError, match="pass --overwrite"):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    assert read_info(tmp_path / "out").quantization.recipe == "float"  # type: ignore[union-attr]
    quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32", overwrite=True)
    assert read_info(tmp_path / "out").quantization.recipe == "8da4w-g32"  # type: ignore[union-attr]


@pytest.mark.parametrize("out", ["source", "."])
def test_the_source_is_never_replaced(write: Write, tmp_path: Path, out: str) -> None:
    source = write()
    with pytest.raises(ValueError, match="would destroy the input"):
        quantize_checkpoint(source, tmp_path / out, recipe="8da4w-g32", overwrite=True)
    assert load_model(source)


def test_an_impossible_group_size_is_refused_before_anything_is_written(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="impossible group size 20"):
        quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32", group_size=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_full_disk_is_named_and_leaves_nothing(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("quant.checkpoint.write_checkpoint", full)
    with pytest.raises(EnvironmentFault, match="no space left"):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_an_interrupt_leaves_nothing(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write()

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quant.checkpoint.quantize_layer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_licence_that_is_listed_but_missing_is_refused(write: Write, tmp_path: Path) -> None:
    source = write()
    (source / "LICENSE.txt").unlink()
    with pytest.raises(ValueError, match=r"LICENSE\.txt is missing, though checkpoint\.json lists it"):
        quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")


@pytest.mark.parametrize("change, message", [
    ({"bits": 8}, f"layer {Q}: scheme int4-group has 4 bits, not 8; quantize again"),
    ({"group_size": 96}, f"layer {Q}: K = 64 is not a multiple of 96"),
    ({"group_size": 64}, rf"'{Q}.scales' has the shape \[64, 2\], its config asks for \[64, 1\]"),
    ({"scheme": "int3"}, f"layer {Q}: unknown scheme 'int3'"),
    ({"scheme": "float", "group_size": None}, f"missing tensors: {Q}.weight; unexpected tensors: {Q}.codes"),
])  # fmt: skip
def test_a_description_that_disagrees_with_the_tensors_is_refused(
    write: Write, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32")
    edit_layer(tmp_path / "out", Q, change)
    with pytest.raises(ValueError, match=message):
        load_quantized(tmp_path / "out")


def test_a_description_with_another_layer_than_the_models_is_refused(write: Write, tmp_path: Path) -> None:
    quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32")
    data = json.loads((tmp_path / "out" / "checkpoint.json").read_text())
    data["quantization"]["layers"]["layers.9.attention.q_proj"] = data["quantization"]["layers"].pop(Q)
    (tmp_path / "out" / "checkpoint.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"not the model's \(layers\.0\.attention\.q_proj, layers\.9"):
        build_model(tmp_path / "out")


def test_a_float_checkpoint_has_no_codes_to_load(write: Write) -> None:
    with pytest.raises(ValueError, match="is not quantized; run `pocketlm quantize`"):
        load_quantized(write())


@pytest.mark.parametrize("value", [float("nan"), 0.0, -1.0])
def test_a_damaged_scale_is_refused_by_layer(write: Write, tmp_path: Path, value: float) -> None:
    quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32")
    stored = open_tensors(tmp_path / "out")
    tensors = {name: stored.get(name) for name in stored.names}
    tensors[f"{DOWN}.scales"][5] = value
    write_checkpoint(tmp_path / "out", read_info(tmp_path / "out"), tensors.items())
    with pytest.raises(ValueError, match=f"layer {DOWN}: scales must be positive and finite"):
        build_model(tmp_path / "out")
