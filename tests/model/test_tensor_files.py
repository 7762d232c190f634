"""Weight files: what we write the safetensors library reads, and every damaged file is refused by name."""

import collections
import json
import struct
from pathlib import Path

import pytest
import torch

from model.safetensors_file import open_safetensors, write_safetensors
from model.tensor_files import check_finite, open_weights

MIXED = {
    "codes": torch.arange(15, dtype=torch.uint8).reshape(3, 5),  # an odd number of bytes: what follows is misaligned
    "scales": torch.randn(3, 1, generator=torch.Generator().manual_seed(0)),
    "half": torch.randn(7, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16),
    "signed": torch.tensor([[-128, 127]], dtype=torch.int8),
    "scalar": torch.tensor(2.5),
    "nothing": torch.empty(0, 4),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_safetensors(tmp_path / "model.safetensors", MIXED.items(), header_bytes=2048)
    return tmp_path / "model.safetensors"


def test_the_safetensors_library_reads_what_we_stream(path):
    from safetensors.torch import load_file

    theirs = load_file(path)
    assert set(theirs) == set(MIXED)
    for name, tensor in MIXED.items():
        assert theirs[name].dtype == tensor.dtype
        assert torch.equal(theirs[name], tensor)


def test_names_and_shapes_come_without_reading_and_tensors_come_back_bit_for_bit(path):
    reader = open_weights(path.parent)
    assert reader.names == tuple(MIXED)
    assert reader.shape("codes") == (3, 5)
    assert reader.dtype("half") == torch.bfloat16
    for name, tensor in MIXED.items():
        assert torch.equal(reader.get(name), tensor)
    with pytest.raises(ValueError, match=r"no tensor 'absent' in model.safetensors"):
        reader.get("absent")


def test_we_read_what_the_safetensors_library_writes(tmp_path):
    from safetensors.torch import save_file

    save_file(MIXED, tmp_path / "model.safetensors")
    reader = open_weights(tmp_path)
    assert all(torch.equal(reader.get(name), tensor) for name, tensor in MIXED.items())


def test_writing_asks_for_the_next_tensor_only_when_the_last_is_on_the_disk(tmp_path):
    out, sizes = tmp_path / "out.safetensors", []

    def stream():
        for i in range(3):
            sizes.append(out.stat().st_size)
            yield f"t{i}", torch.full((300_000,), i, dtype=torch.uint8)

    write_safetensors(out, stream(), header_bytes=1024)
    assert sizes[1] - sizes[0] >= 300_000 - 9000  # all but the file object's own buffer
    assert sizes[2] - sizes[1] >= 300_000 - 9000


def test_the_same_tensors_give_the_same_bytes(path, tmp_path):
    write_safetensors(tmp_path / "again", MIXED.items(), header_bytes=2048)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_tensor_given_twice_and_a_header_without_room_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'a' was given twice"):
        write_safetensors(tmp_path / "x", [("a", torch.ones(1)), ("a", torch.ones(1))], header_bytes=512)
    with pytest.raises(ValueError, match="does not fit the 16 reserved"):
        write_safetensors(tmp_path / "x", [("a", torch.ones(1))], header_bytes=16)


def raw(path: Path, header: object, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def item(begin: int, end: int, dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin], "data_offsets": [begin, end]}


@pytest.mark.parametrize("keep", [0, 5, 100, -1, -200])
def test_a_truncated_file_is_refused_wherever_it_ends(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated.*copy or download it again"):
        open_safetensors(path)


def test_a_file_cut_after_it_was_opened_is_refused_when_its_tensor_is_read(path):
    reader = open_weights(path.parent)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="truncated inside tensor 'half'"):
        reader.get("half")


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b"{not json", b"", "corrupt header"),
        (b"\xff\xfe\x00", b"", "corrupt header"),
        ([1, 2], b"", "a JSON object is expected"),
        (b'{"a": {}, "a": {}}', b"", "'a' is listed twice"),
        ({"a": {"dtype": "U8", "shape": [1]}}, b"x", "tensor 'a' lacks a dtype, shape or data_offsets"),
        ({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}, b"x", "tensor 'a' lacks"),
        ({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"x", "tensor 'a' lacks"),
        ({"a": "U8"}, b"x", "tensor 'a' lacks"),
        ({"a": item(0, 1, "I5")}, b"x", "tensor 'a' has the type 'I5'"),
        ({"a": item(0, 2, "F32")}, b"xx", "has 2 bytes instead of 8"),
        ({"a": item(0, 2), "b": item(1, 3)}, b"xxx", "tensor 'b' overlaps"),
        ({"a": item(0, 1), "b": item(2, 3)}, b"xxx", "tensor 'b' leaves a gap"),
        ({"a": item(0, 1)}, b"xx", "bytes after the last tensor"),
    ],
)
def test_a_corrupt_header_is_one_clear_line(tmp_path, header, data, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_safetensors(raw(tmp_path / "model.safetensors", header, data))
    assert str(tmp_path / "model.safetensors") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_safetensors_at_all_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"<!DOCTYPE html>" * 9)
    with pytest.raises(ValueError, match="not a safetensors file or has a corrupt header"):
        open_weights(tmp_path)


def shards(folder: Path, suffix: str = "safetensors") -> dict[str, str]:
    """Two shards; returns the weight map, not yet written."""
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    weight_map = {}
    for i, names in enumerate((("a", "b"), ("c",)), start=1):
        name = f"{stem}-0000{i}-of-00002.{suffix}"
        tensors = {n: torch.full((2,), float(ord(n))) for n in names}
        if suffix == "bin":
            torch.save(tensors, folder / name)
        else:
            write_safetensors(folder / name, tensors.items(), header_bytes=512)
        weight_map |= dict.fromkeys(names, name)
    return weight_map


def write_index(folder: Path, weight_map: object, stem: str = "model.safetensors") -> None:
    (folder / f"{stem}.index.json").write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": weight_map}))


@pytest.mark.parametrize(("suffix", "stem"), [("safetensors", "model.safetensors"), ("bin", "pytorch_model.bin")])
def test_shards_are_read_through_their_index(tmp_path, suffix, stem):
    write_index(tmp_path, shards(tmp_path, suffix), stem)
    reader = open_weights(tmp_path)
    assert sorted(reader.names) == ["a", "b", "c"]
    assert torch.equal(reader.get("c"), torch.full((2,), 99.0))
    assert reader.files[0].name == f"{stem}.index.json"
    assert len(reader.files) == 3


def test_a_missing_shard_is_named(tmp_path):
    weight_map = shards(tmp_path)
    (tmp_path / weight_map["c"]).unlink()
    write_index(tmp_path, weight_map)
    with pytest.raises(ValueError, match=r"puts 1 tensors into model-00002-of-00002.safetensors, which is missing"):
        open_weights(tmp_path)


def test_an_index_that_disagrees_with_its_shards_names_the_tensor(tmp_path):
    weight_map = shards(tmp_path)
    write_index(tmp_path, weight_map | {"b": weight_map["c"]})
    with pytest.raises(ValueError, match=r"'b' is in .*00001-of-00002.safetensors, but .* puts it into .*00002-of"):
        open_weights(tmp_path)
    write_index(tmp_path, weight_map | {"d": weight_map["c"]})
    with pytest.raises(ValueError, match=r"puts tensor 'd' into .*00002-of-00002.safetensors, which does not hold it"):
        open_weights(tmp_path)
    write_index(tmp_path, {name: shard for name, shard in weight_map.items() if name != "a"})
    with pytest.raises(ValueError, match=r"'a' is in .* does not list it"):
        open_weights(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    weight_map = shards(tmp_path)
    write_safetensors(tmp_path / weight_map["c"], [("c", torch.ones(1)), ("a", torch.ones(1))], header_bytes=512)
    write_index(tmp_path, weight_map)
    with pytest.raises(ValueError, match=r"'a' is both in model-00001-of-00002.safetensors and in model-00002"):
        open_weights(tmp_path)


@pytest.mark.parametrize("weight_map", [None, {}, [], {"a": 3}])
def test_an_index_without_a_weight_map_is_refused(tmp_path, weight_map):
    write_index(tmp_path, weight_map)
    with pytest.raises(ValueError, match=r'index\.json has no "weight_map"'):
        open_weights(tmp_path)


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "..", ""])
def test_an_index_cannot_point_outside_its_folder(tmp_path, shard):
    write_index(tmp_path, {"a": shard})
    with pytest.raises(ValueError, match="no plain file name in that folder"):
        open_weights(tmp_path)


def test_a_whole_file_beside_the_index_of_other_shards_is_ambiguous(path):
    write_index(path.parent, shards(path.parent))
    with pytest.raises(ValueError, match=r"both model.safetensors and model.safetensors.index.json"):
        open_weights(path.parent)


def test_a_folder_without_weights_says_what_it_holds_instead(tmp_path):
    (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"has no weights \(found model-q4.gguf\): expected model.safetensors"):
        open_weights(tmp_path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_legacy_torch_file_of_plain_tensors_is_read(tmp_path, is_zip):
    state = collections.OrderedDict(a=torch.arange(6.0).reshape(2, 3).t(), b=torch.ones(2, dtype=torch.bfloat16))
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    reader = open_weights(tmp_path)
    assert reader.shape("a") == (3, 2)
    assert torch.equal(reader.get("a"), torch.arange(6.0).reshape(2, 3).t())
    assert reader.get("a").is_contiguous()
    assert reader.dtype("b") == torch.bfloat16


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, ("pickle-was-run",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_wants_to_run_code_is_refused_and_says_why(tmp_path, monkeypatch, is_zip):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"bin is refused: .*asks for posix.mkdir, so loading it could run") as caught:
        open_weights(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pickle-was-run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(2), "holds a Tensor, no table of tensors"),
        ({"a": 3}, "entry 'a' is no plain tensor"),
        ({"a": torch.eye(2).to_sparse()}, "entry 'a' is no plain tensor"),
        ({1: torch.ones(1)}, "entry 1 is no plain tensor"),
    ],
)
def test_a_torch_file_of_anything_else_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=message):
        open_weights(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 40, 300, -20])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_truncated_torch_file_is_refused(tmp_path, keep, is_zip):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(500)}, path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"pytorch_model.bin is (truncated|refused)") as caught:
        open_weights(tmp_path)
    assert "\n" not in str(caught.value)


def test_nan_and_infinity_are_counted_by_name():
    tensor = torch.ones(4, 4, dtype=torch.bfloat16)
    check_finite("fine", tensor, Path("x"))
    check_finite("codes", torch.ones(3, dtype=torch.int8), Path("x"))
    check_finite("none", torch.empty(0), Path("x"))
    tensor[0, 0], tensor[1, 1], tensor[2, 2] = float("nan"), float("inf"), float("-inf")
    with pytest.raises(ValueError, match=r"'layers.0.w' holds 1 NaN and 2 infinite values among 16"):
        check_finite("layers.0.w", tensor, Path("model.safetensors"))
