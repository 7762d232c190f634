"""The end of a run: the trained checkpoint, and its figures measured on that very file."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import adopt_tokenizer, find_preset_name, float_shapes, load_model, read_info, write_checkpoint
from model.checkpoint_info import CheckpointInfo
from model.files import atomic_output
from model.tokenizer import load_tokenizer
from model.transformer import Transformer
from train.held_out import score_documents, xz_bits_per_byte
from train.settings import PRECISIONS, RunSettings
from train.tokens import TokenSet

CHECKPOINT_FOLDER = "checkpoint"

_XZ_MOST_BYTES = 8 << 20  # xz -9e takes about a second for each megabyte


def write_trained(settings: RunSettings, model: Transformer, tokens: TokenSet, out: Path, facts: bytes) -> None:
    """Writes the checkpoint folder that `quantize` reads.

    Args:
        facts: what decided the weights; its hash becomes the checkpoint's `source_sha256`.

    Raises:
        EnvironmentFault: the disk is full.
    """
    config = settings.model.shape
    assert settings.train.checkpoint_dtype in PRECISIONS
    dtype = getattr(torch, settings.train.checkpoint_dtype)
    weights = model.state_dict()
    with atomic_output(out, overwrite=True) as partial:  # a run that was killed here writes it again
        info = CheckpointInfo(
            config=config,
            preset=find_preset_name(config),
            family="pocketlm",
            tokenizer=adopt_tokenizer(tokens.tokenizer_folder, partial, config.vocab_size),
            source_sha256=hashlib.sha256(facts).hexdigest(),
        )
        write_checkpoint(partial, info, ((name, weights[name].to(dtype)) for name in float_shapes(config)))


def score_checkpoint(
    folder: Path, tokens: TokenSet, *, device: torch.device, progress: Callable[[str], None]
) -> dict[str, Any]:
    """The held-out documents' bits per byte under a checkpoint, and under `xz -9e` where they are few enough."""
    stream = tokens.held_out
    if stream is None:
        return {}
    spec = read_info(folder).tokenizer
    assert spec is not None
    documents = [stream.document(i) for i in range(stream.documents)]
    model = load_model(folder).to(device)
    score = score_documents(model, documents, num_bytes=stream.bytes, device=device, progress=progress)
    record = {
        "held_out_documents": score.documents,
        "held_out_bytes": score.bytes,
        "held_out_tokens": score.tokens,
        "held_out_loss": score.nats / score.tokens,
        "held_out_bits_per_byte": score.bits_per_byte,
    }
    if stream.bytes > _XZ_MOST_BYTES:
        return record
    tokenizer = load_tokenizer(folder, spec)
    texts = [b"".join(map(tokenizer.piece, document.tolist())) for document in documents]
    if sum(map(len, texts)) != stream.bytes:
        progress("no comparison with xz: this tokenizer does not give the text back byte for byte")
        return record
    each, together = xz_bits_per_byte(texts)
    return record | {"xz_each_bits_per_byte": each, "xz_together_bits_per_byte": together}
