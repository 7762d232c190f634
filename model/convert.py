"""A Hugging Face folder into a checkpoint of ours, tensor by tensor: `convert`.

Nothing is written before every header has been checked, and nothing is left behind when a tensor turns out bad.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from model.checkpoint import adopt_tokenizer, copy_licences, find_preset_name, write_checkpoint
from model.checkpoint_info import CheckpointInfo
from model.files import atomic_output, check_target, sha256_file
from model.hf import ForeignCheckpoint, open_foreign

_log = logging.getLogger("pocketlm")


def convert(source: Path, out: Path, *, overwrite: bool = False) -> CheckpointInfo:
    """Reads a Hugging Face folder and writes our checkpoint; the weights keep their type and their bits.

    Raises:
        ValueError: the model is unsupported, a file is damaged, a tensor is missing, unexpected, mis-shaped or not
            finite, the tokenizer disagrees with the vocabulary, or `out` exists.
        EnvironmentFault: the disk is full.
    """
    check_target(out, overwrite=overwrite, source=source)
    foreign = open_foreign(source)
    config, preset = foreign.config, find_preset_name(foreign.config)
    _log.info(
        "%s: %s, %s parameters%s",
        source.name,
        foreign.family,
        f"{config.num_parameters:,}",
        f", preset {preset}" if preset else "",
    )
    with atomic_output(out, overwrite=overwrite) as partial:
        licences = copy_licences(source, partial)
        _log.info("licences: %s", ", ".join(licences) or "none found")
        tokenizer = adopt_tokenizer(source, partial, config.vocab_size)
        info = CheckpointInfo(
            config=config,
            preset=preset,
            family=foreign.family,
            source_sha256=hash_source(foreign),
            learned_scales=foreign.has_learned_scales,
            tokenizer=tokenizer,
            licences=licences,
        )
        write_checkpoint(partial, info, _with_progress(foreign))
    _log.info("wrote %s", out)
    return info


def hash_source(foreign: ForeignCheckpoint) -> str:
    """The sha256 over the names and contents of config.json and the weight files, wherever the folder lies."""
    digest = hashlib.sha256()
    for path in sorted((foreign.folder / "config.json", *foreign.reader.files), key=lambda path: path.name):
        _log.info("hashing %s", path.name)
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _with_progress(foreign: ForeignCheckpoint) -> Iterator[tuple[str, Tensor]]:
    """The tensors, with a line whenever another quarter of the layers is done."""
    num_layers, reported = foreign.config.num_layers, 0
    for name, tensor in foreign.tensors():
        layer = int(name.split(".")[1]) if name.startswith("layers.") else 0
        if layer * 4 // num_layers > reported:
            reported = layer * 4 // num_layers
            _log.info("%d of %d layers", layer, num_layers)
        yield name, tensor
