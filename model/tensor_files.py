"""A folder's weight files in whichever form they have: safetensors, or torch pickles read without their code.

Knows names, shapes and shards, and reads one tensor at a time; no model, no checkpoint format.
"""

import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from model.files import read_json
from model.safetensors_file import AGAIN, TensorEntry, open_safetensors


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
        raise ValueError(f'{index} has no "weight_map" from tensor names to file names; {AGAIN}')
    for shard in set(weight_map.values()):
        if shard in ("", ".", "..") or "/" in shard or "\\" in shard:
            raise ValueError(f"{index} names the shard {shard!r}, which is no plain file name in that folder; {AGAIN}")
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
                raise ValueError(f"tensor {name!r} is both in {entries[name].path.name} and in {path.name}; {AGAIN}")
            if weight_map.get(name) != path.name:
                said = f"puts it into {weight_map[name]}" if name in weight_map else "does not list it"
                raise ValueError(f"tensor {name!r} is in {path}, but {index.name} {said}; {AGAIN}")
            entries[name] = entry
    for name, shard in weight_map.items():
        if name not in entries:
            raise ValueError(f"{index} puts tensor {name!r} into {shard}, which does not hold it; {AGAIN}")
    return TensorReader(entries, [index, *paths])


def _open_pickle(path: Path) -> dict[str, TensorEntry]:
    """Maps a `torch.save` file; only tensors are accepted, and no code of the file runs."""
    try:  # mmap needs the zip form that torch has written since 1.6
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise ValueError(f"{path} is truncated, or no torch file at all; {AGAIN}") from None
        raise ValueError(
            f"{path} is refused: it is a pickle that asks for {wanted[1]}, so loading it could run code; "
            "ask its author for safetensors"
        ) from None
    except (RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError, struct.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise ValueError(f"{path} is truncated or corrupt ({reason}); {AGAIN}") from None
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
