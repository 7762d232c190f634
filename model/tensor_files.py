"""Weight files, one tensor at a time: safetensors read and written by hand, torch pickles read without their code.

Knows names, shapes and bytes; no model, no checkpoint format. The safetensors layout: 8 bytes with the header's length
(little-endian), a JSON header padded with spaces, then the tensors' raw bytes without a gap.
"""

import json
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.files import read_json

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
_AGAIN = "copy or download it again"


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor that has not been read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    path: Path  # the file that holds it
    load: Callable[[], Tensor]


class TensorReader:
    """Names and shapes at once, tensors on demand."""

    def __init__(self, entries: Mapping[str, TensorEntry], files: Iterable[Path]) -> None:
        self.entries = dict(entries)
        self.files = tuple(files)  # every file that belongs to the weights, an index included

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def dtype(self, name: str) -> torch.dtype:
        return self._entry(name).dtype

    def get(self, name: str) -> Tensor:
        """Reads one tensor into memory.

        Raises:
            ValueError: there is no such tensor, or the file became shorter since it was opened.
        """
        return self._entry(name).load()

    def _entry(self, name: str) -> TensorEntry:
        if name not in self.entries:
            raise ValueError(f"there is no tensor {name!r} in {', '.join(path.name for path in self.files)}")
        return self.entries[name]


def open_weights(folder: Path) -> TensorReader:
    """Opens a folder's weights: `model.safetensors`, its sharded form, or legacy `pytorch_model.bin` in both forms.

    Raises:
        ValueError: there are none, or a file is truncated, corrupt, refused, or disagrees with the index.
    """
    for name, reader in (("model.safetensors", open_safetensors), ("pytorch_model.bin", _open_pickle)):
        single, index = folder / name, folder / f"{name}.index.json"
        if single.is_file() and index.is_file() and set(_read_index(index).values()) != {name}:
            raise ValueError(f"{folder} holds both {name} and {index.name}; remove the one that is out of date")
        if single.is_file():
            return TensorReader(reader(single), [single])
        if index.is_file():
            return _open_shards(index, reader)
    others = sorted(path.name for path in folder.glob("*") if path.suffix in (".safetensors", ".bin", ".pth", ".gguf"))
    found = f" (found {', '.join(others[:4])})" if others else ""
    raise ValueError(
        f"{folder} has no weights{found}: expected model.safetensors, model.safetensors.index.json with "
        "its shards, or pytorch_model.bin; download or convert them into one of these"
    )


def _read_index(index: Path) -> dict[str, str]:
    data = read_json(index)
    weight_map = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise ValueError(f'{index} has no "weight_map" from tensor names to file names; {_AGAIN}')
    for shard in set(weight_map.values()):
        if shard in ("", ".", "..") or "/" in shard or "\\" in shard:
            raise ValueError(f"{index} names the shard {shard!r}, which is no plain file name in that folder; {_AGAIN}")
    return weight_map


def _open_shards(index: Path, reader: Callable[[Path], dict[str, TensorEntry]]) -> TensorReader:
    weight_map = _read_index(index)
    paths = [index.parent / name for name in sorted(set(weight_map.values()))]
    for path in paths:
        if not path.is_file():
            lost = sum(shard == path.name for shard in weight_map.values())
            raise ValueError(f"{index} puts {lost} tensors into {path.name}, which is missing; download that shard")
    entries: dict[str, TensorEntry] = {}
    for path in paths:
        for name, entry in reader(path).items():
            if name in entries:
                raise ValueError(f"tensor {name!r} is both in {entries[name].path.name} and in {path.name}; {_AGAIN}")
            if weight_map.get(name) != path.name:
                said = f"puts it into {weight_map[name]}" if name in weight_map else "does not list it"
                raise ValueError(f"tensor {name!r} is in {path}, but {index.name} {said}; {_AGAIN}")
            entries[name] = entry
    for name, shard in weight_map.items():
        if name not in entries:
            raise ValueError(f"{index} puts tensor {name!r} into {shard}, which does not hold it; {_AGAIN}")
    return TensorReader(entries, [index, *paths])


def open_safetensors(path: Path) -> dict[str, TensorEntry]:
    """Reads a safetensors header; the tensors stay on the disk.

    Raises:
        ValueError: the file is missing, truncated or corrupt; the message says where.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    size = path.stat().st_size
    header, data_start = _read_header(path, size)
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, item in header.items():
        dtype, shape, begin, end = _check_item(path, name, item)
        spans.append((begin, end, name))
        entries[name] = TensorEntry(
            shape=shape, dtype=dtype, path=path, load=_loader(path, name, data_start + begin, end - begin, dtype, shape)
        )
    reached = 0
    for begin, end, name in sorted(spans):
        if begin != reached:
            what = "overlaps the tensor before it" if begin < reached else "leaves a gap before it"
            raise ValueError(f"{path} has a corrupt header: tensor {name!r} {what}; {_AGAIN}")
        reached = end
    if data_start + reached != size:
        what = "truncated" if data_start + reached > size else "corrupt (bytes after the last tensor)"
        raise ValueError(f"{path} is {what}: {size} bytes instead of {data_start + reached}; {_AGAIN}")
    return entries


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header without its metadata, and the offset of the first tensor's byte."""
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise ValueError(f"{path} is truncated: {size} bytes are less than a safetensors header; {_AGAIN}")
        (length,) = struct.unpack("<Q", prefix)
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path} is not a safetensors file or has a corrupt header (length {length}); {_AGAIN}")
        raw = file.read(length)
    if len(raw) < length:
        raise ValueError(f"{path} is truncated: its header has {length} bytes, the whole file {size}; {_AGAIN}")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} has a corrupt header ({error}); {_AGAIN}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a corrupt header (a JSON object is expected); {_AGAIN}")
    header.pop("__metadata__", None)
    return header, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is listed twice")
    return result


def _check_item(path: Path, name: str, item: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    try:
        dtype_name, shape, (begin, end) = item["dtype"], tuple(item["shape"]), item["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError):
        numbers = [-1]
    if any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"{path} has a corrupt header: tensor {name!r} lacks a dtype, shape or data_offsets; {_AGAIN}")
    if dtype_name not in _DTYPES:
        raise ValueError(f"{path}: tensor {name!r} has the type {dtype_name!r}; known are {', '.join(_DTYPES)}")
    dtype = _DTYPES[dtype_name]
    size = math.prod(shape) * dtype.itemsize
    if end - begin != size:
        raise ValueError(
            f"{path} has a corrupt header: tensor {name!r} of {dtype_name} {list(shape)} has "
            f"{end - begin} bytes instead of {size}; {_AGAIN}"
        )
    return dtype, shape, begin, end


def _loader(
    path: Path, name: str, start: int, length: int, dtype: torch.dtype, shape: tuple[int, ...]
) -> Callable[[], Tensor]:
    def load() -> Tensor:
        buffer = torch.empty(length, dtype=torch.uint8)
        with path.open("rb") as file:
            file.seek(start)
            if file.readinto(buffer.numpy().data) != length:
                raise ValueError(f"{path} is truncated inside tensor {name!r}; {_AGAIN}")
        return buffer.view(dtype).reshape(shape)

    return load


def _open_pickle(path: Path) -> dict[str, TensorEntry]:
    """Maps a `torch.save` file; only tensors are accepted, and no code of the file runs."""
    try:  # mmap needs the zip form that torch has written since 1.6
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise ValueError(f"{path} is truncated, or no torch file at all; {_AGAIN}") from None
        raise ValueError(
            f"{path} is refused: it is a pickle that asks for {wanted[1]}, so loading it could run code; "
            "ask its author for safetensors"
        ) from None
    except (RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError, struct.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise ValueError(f"{path} is truncated or corrupt ({reason}); {_AGAIN}") from None
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, no table of tensors; save the model's state_dict()")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise ValueError(f"{path}: entry {name!r} is no plain tensor; save the model's state_dict() as safetensors")
    return {
        name: TensorEntry(shape=tuple(value.shape), dtype=value.dtype, path=path, load=value.detach().contiguous)
        for name, value in state.items()
    }


def check_finite(name: str, tensor: Tensor, where: Path) -> None:
    """Refuses NaN and infinity.

    Raises:
        ValueError: the tensor holds any; the message gives its name and both counts.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return
    low, high = tensor.aminmax()  # NaN spreads to both; one pass without copies, where isfinite makes three
    if bool(torch.isfinite(low)) and bool(torch.isfinite(high)):
        return
    nan, infinite = int(torch.isnan(tensor).sum()), int(torch.isinf(tensor).sum())
    raise ValueError(
        f"{where}: tensor {name!r} holds {nan} NaN and {infinite} infinite values among {tensor.numel()}; "
        "the model is damaged or its training diverged: use another checkpoint"
    )


def write_safetensors(path: Path, tensors: Iterable[tuple[str, Tensor]], *, header_bytes: int) -> None:
    """Streams tensors into one file, each written before the next is asked for. The same input gives the same bytes.

    Args:
        header_bytes: room reserved for the header, which is known only at the end; the rest of it stays spaces.

    Raises:
        ValueError: a name comes twice, or the header outgrows its room.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    with path.open("wb") as file:
        file.write(struct.pack("<Q", header_bytes) + b" " * header_bytes)
        for name, tensor in tensors:
            if name in header:
                raise ValueError(f"tensor {name!r} was given twice for {path}")
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            header[name] = {
                "dtype": _NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [offset, offset + data.nbytes],
            }
            file.write(data.data)
            offset += data.nbytes
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
        if len(text) > header_bytes:
            raise ValueError(f"{path}: a header of {len(text)} bytes does not fit the {header_bytes} reserved for it")
        file.seek(8)
        file.write(text)
