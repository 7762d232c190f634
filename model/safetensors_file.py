"""The safetensors format, read and written by hand, one tensor at a time.

Knows names, shapes and bytes of one file, and nothing of shards or checkpoints. The layout: 8 bytes with the header's
length (little-endian), a JSON header padded with spaces, then the tensors' raw bytes without a gap.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
AGAIN = "copy or download it again"  # the cure for a file that is not what it was


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor that has not been read yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    path: Path  # the file that holds it
    load: Callable[[], Tensor]


def open_safetensors(path: Path) -> dict[str, TensorEntry]:
    """Reads a safetensors header; the tensors stay on the disk.

    Raises:
        ValueError: the file is missing, truncated or corrupt; the message says where.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy or make that folder again")
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
            raise ValueError(f"{path} has a corrupt header: tensor {name!r} {what}; {AGAIN}")
        reached = end
    if data_start + reached != size:
        what = "truncated" if data_start + reached > size else "corrupt (bytes after the last tensor)"
        raise ValueError(f"{path} is {what}: {size} bytes instead of {data_start + reached}; {AGAIN}")
    return entries


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header without its metadata, and the offset of the first tensor's byte."""
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise ValueError(f"{path} is truncated: {size} bytes are less than a safetensors header; {AGAIN}")
        (length,) = struct.unpack("<Q", prefix)
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path} is not a safetensors file or has a corrupt header (length {length}); {AGAIN}")
        raw = file.read(length)
    if len(raw) < length:
        raise ValueError(f"{path} is truncated: its header has {length} bytes, the whole file {size}; {AGAIN}")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} has a corrupt header ({error}); {AGAIN}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a corrupt header (a JSON object is expected); {AGAIN}")
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
        raise ValueError(f"{path} has a corrupt header: tensor {name!r} lacks a dtype, shape or data_offsets; {AGAIN}")
    if dtype_name not in _DTYPES:
        raise ValueError(f"{path}: tensor {name!r} has the type {dtype_name!r}; known are {', '.join(_DTYPES)}")
    dtype = _DTYPES[dtype_name]
    size = math.prod(shape) * dtype.itemsize
    if end - begin != size:
        raise ValueError(
            f"{path} has a corrupt header: tensor {name!r} of {dtype_name} {list(shape)} has "
            f"{end - begin} bytes instead of {size}; {AGAIN}"
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
                raise ValueError(f"{path} is truncated inside tensor {name!r}; {AGAIN}")
        return buffer.view(dtype).reshape(shape)

    return load


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
