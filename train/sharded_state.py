"""The state of a run of several processes: each writes its shards, by torch.distributed.checkpoint, as safetensors.

The files hold the same names as `state.safetensors` of one process, and each shard says where in its tensor it
belongs. So any number of processes takes up what any other number has left, one process included.
"""

import contextlib
import functools
import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from model.errors import EnvironmentFault
from model.files import sha256_file
from train.state import begin_state, keep_newest, state_path
from train.team import Team

_FILE_BYTES = 1 << 30  # of tensors in one file of a process, about: a file is built in memory before it is written


def save_sharded(
    folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], *, keep: int, team: Team
) -> Path:
    """Writes `folder/step-NNNNNNNN`, which all processes must see, and keeps the newest `keep` states up to it.

    Every process calls this. The state appears when all shards are written and hashed, and not before.

    Raises:
        EnvironmentFault: the disk is full or cannot be written; the states that were there stay.
    """
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(begin_state(folder, step)) if team.is_first else None
        partial = Path(team.from_first(lambda: str(state.folder) if state is not None else ""))
        stack.push(functools.partial(_clear, partial))
        _write(partial, tensors, team.size)
        own = {path.name: sha256_file(path) for path in partial.glob(f"shard-{team.rank + 1:05d}-*.safetensors")}
        hashes = {name: value for each in team.gather(own) for name, value in each.items()}
        if state is not None:
            state.finish(hashes, facts)
    if team.is_first:
        keep_newest(folder, step, keep)
    return state_path(folder, step)


def _clear(partial: Path, kind: type[BaseException] | None, *_: object) -> None:
    """After an error each process clears what the others may have written after they cleared it: the last one wins."""
    if kind is not None:
        shutil.rmtree(partial, ignore_errors=True)


def _write(partial: Path, tensors: Mapping[str, Tensor], processes: int) -> None:
    writer = HuggingFaceStorageWriter(
        str(partial), fqn_to_index_mapping=_files(tensors, processes), save_distributed=True
    )
    try:
        dcp.save({name: tensor.detach() for name, tensor in tensors.items()}, storage_writer=writer)
    except dcp.api.CheckpointException as error:  # on every process, whatever happened on any
        raise _cause(error) from error


def read_into(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fills sharded or whole tensors with what a state holds under their names. Every process of a team calls this.

    Raises:
        ValueError: the state is of another model.
    """
    found = {name: shape for name, (shape, _) in _entries(folder).items()}
    if any(found.get(name) != tuple(tensor.shape) for name, tensor in tensors.items()):
        raise ValueError("the state on disk is of another model; start this run in another output folder")
    try:
        dcp.load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(folder)))
    except dcp.api.CheckpointException as error:
        raise _cause(error) from error


def read_whole(folder: Path) -> dict[str, Tensor]:
    """All tensors of a state of several processes, whole, in this process."""
    tensors = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in _entries(folder).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as it is meant to be
        dcp.load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return tensors


def _entries(folder: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of each tensor of a state."""
    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name: (tuple(entry.size), entry.properties.dtype)
        for name, entry in found.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def _files(tensors: Mapping[str, Tensor], processes: int) -> dict[str, int]:
    """The number of the file, from 1, that holds each tensor's shard."""
    numbers, filled = {}, 0
    for name, tensor in tensors.items():
        numbers[name] = 1 + filled // _FILE_BYTES
        whole = math.prod(tensor.shape) * tensor.element_size()
        filled += whole // processes if isinstance(tensor, DTensor) else whole
    return numbers


def _cause(error: dcp.api.CheckpointException) -> BaseException:
    """What went wrong first: an interruption before a full disk before everything else."""
    causes = [wrapped[0] for _, wrapped in sorted(error.failures.items())]
    order = (KeyboardInterrupt, SystemExit, EnvironmentFault, OSError)
    return next((cause for kind in order for cause in causes if isinstance(cause, kind)), causes[0])
