"""The end of a run: the trained checkpoint, and its figures measured on that very file."""

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import (
    adopt_tokenizer,
    copy_licences,
    find_preset_name,
    float_shapes,
    load_model,
    read_info,
    write_checkpoint,
)
from model.checkpoint_info import CheckpointInfo
from model.files import atomic_output
from model.tokenizer import load_tokenizer
from model.transformer import Transformer
from quant.checkpoint import build_model, quantize_checkpoint
from quant.fake_quant import learned_scales
from train.held_out import score_documents, xz_bits_per_byte
from train.objective import qat_plan
from train.settings import RunSettings
from train.tokens import TokenSet

_XZ_MOST_BYTES = 8 << 20  # xz -9e takes about a second for each megabyte
# Held-out tokens that are scored at most: a share of those that the run was trained on, and never fewer than these.
_SCORED_SHARE = 0.05
_SCORED_TOKENS = 1 << 16


def write_trained(
    settings: RunSettings, model: Transformer, tokens: TokenSet, out: Path, facts: bytes, *, base: Path
) -> None:
    """Writes the checkpoint folder that `quantize` reads; with learned scales, where the run has learned them.

    Args:
        facts: what decided the weights; its hash becomes the checkpoint's `source_sha256`.
        base: what relative paths of the settings start from.

    Raises:
        EnvironmentFault: the disk is full.
    """
    config = settings.model.shape
    dtype = getattr(torch, settings.train.checkpoint_dtype)
    weights = dict(model.named_parameters())
    scales = learned_scales(model)
    names = float_shapes(config)
    begun = settings.model.checkpoint
    with atomic_output(out, overwrite=True) as partial:  # a run that was killed here writes it again
        licences = {*copy_licences(tokens.tokenizer_folder, partial)}
        if begun is not None:
            licences |= {*copy_licences(base / begun, partial)}
        info = CheckpointInfo(
            config=config,
            preset=find_preset_name(config),
            family="pocketlm" if begun is None else read_info(base / begun).family,
            tokenizer=adopt_tokenizer(tokens.tokenizer_folder, partial, config.vocab_size),
            licences=tuple(sorted(licences)),
            source_sha256=hashlib.sha256(facts).hexdigest(),
            learned_scales=bool(scales),
            trained_for=qat_plan(settings)[2] if settings.objective == "qat" else None,
        )
        # Copies: what numpy has seen of a tensor's memory cannot be given back, as sharded weights are.
        tensors = ((name, weights[name].detach().to(dtype, copy=True)) for name in names)
        write_checkpoint(partial, info, itertools.chain(tensors, scales.items()))


def score_checkpoint(
    settings: RunSettings, folder: Path, tokens: TokenSet, *, device: torch.device, progress: Callable[[str], None]
) -> dict[str, Any]:
    """The held-out documents' bits per byte under a checkpoint, and under `xz -9e` where they are few enough.

    Of very many documents the first ones are scored.
    """
    stream, loop = tokens.held_out, settings.train
    if stream is None:
        return {}
    most = max(_SCORED_TOKENS, int(_SCORED_SHARE * loop.steps * loop.batch_tokens))
    count = max(1, sum(1 for end in itertools.accumulate(entry.tokens for entry in stream.entries) if end <= most))
    if count < stream.documents:
        progress(f"scoring the first {count:,} of {stream.documents:,} held-out documents")
    documents, entries = [stream.document(i) for i in range(count)], stream.entries[:count]
    num_bytes = sum(entry.bytes for entry in entries)
    model = _as_deployed(folder).to(device)
    score = score_documents(
        model, documents, context=max(loop.windows), num_bytes=num_bytes, device=device, progress=progress
    )
    record = {
        "held_out_documents": score.documents,
        "held_out_bytes": score.bytes,
        "held_out_tokens": score.tokens,
        "held_out_loss": score.nats / score.tokens,
        "held_out_bits_per_byte": score.bits_per_byte,
    }
    if num_bytes > _XZ_MOST_BYTES or settings.objective == "qat":  # QAT is held against its float model, not xz
        return record
    texts = _texts(folder, documents)
    if [hashlib.sha256(text).hexdigest() for text in texts] != [entry.sha256 for entry in entries]:
        progress("no comparison with xz: this tokenizer does not give the text back byte for byte")
        return record
    each, together = xz_bits_per_byte(texts)
    return record | {"xz_each_bits_per_byte": each, "xz_together_bits_per_byte": together}


def _as_deployed(folder: Path) -> Transformer:
    """The model whose figures count: the integers that `quantize` makes, where it was trained for them."""
    if read_info(folder).trained_for is None:
        return load_model(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".quantized-") as temporary:
        quantize_checkpoint(folder, Path(temporary) / "integers")
        return build_model(Path(temporary) / "integers")


def _texts(folder: Path, documents: Sequence[Tensor]) -> list[bytes]:
    """What the documents of a checkpoint's tokenizer say; their special tokens are none of the text."""
    spec = read_info(folder).tokenizer
    assert spec is not None
    tokenizer, special = load_tokenizer(folder, spec), {token.id for token in spec.special_tokens}
    return [b"".join(tokenizer.piece(i) for i in document.tolist() if i not in special) for document in documents]
