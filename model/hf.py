"""Foreign names mended in one place: a Hugging Face folder's tensors under our names, every one accounted for.

Refuses to know how a checkpoint is written (model/convert.py) or what a config means (model/hf_config.py).
Legend: N rows (output channels), K columns (inputs), S scales a row.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint import check_shapes, float_shapes, list_names
from model.config import ModelConfig
from model.hf_config import read_hf_config
from model.tensor_files import TensorReader, check_finite, open_weights

_log = logging.getLogger("pocketlm")

_PREFIX = re.compile(r"^(language_model\.)?(model\.)?")
_LAYER = re.compile(r"^layers\.(\d+)\.(.+)$")
_OUTSIDE = {"embed_tokens": "embedding", "norm": "norm", "lm_head": "head"}
_INSIDE = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "feed_forward_norm",
    **{f"self_attn.{part}_proj": f"attention.{part}_proj" for part in "qkvo"},
    **{
        f"{block}.{part}_proj": f"feed_forward.{part}_proj"
        for block in ("feed_forward", "mlp")
        for part in ("gate", "up", "down")
    },
}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_FAKE = ".weight_fake_quantizer."


@dataclass(frozen=True, kw_only=True)
class ForeignCheckpoint:
    """A Hugging Face folder that has been opened and found complete; no weight has been read yet."""

    folder: Path
    config: ModelConfig
    family: str
    reader: TensorReader
    names: Mapping[str, str]  # our name -> theirs, in the order of writing
    copied_head: str | None  # an output table beside tied embeddings, which must equal the input table

    @property
    def has_learned_scales(self) -> bool:
        return any(name.endswith(".weight_scale") for name in self.names)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Reads the tensors one by one, under our names and in the type that they have.

        Raises:
            ValueError: NaN or infinity, a scale that is not positive, or a copied output table that differs.
        """
        for name, theirs in self.names.items():
            where = self.reader.entries[theirs].path
            tensor = self.reader.get(theirs)
            check_finite(theirs, tensor, where)
            if name.endswith(".weight_scale"):
                if not bool((tensor > 0).all()):
                    raise ValueError(f"{where}: learned scales {theirs!r} are not all positive; use another checkpoint")
                tensor = tensor.reshape(self.reader.shape(self.names[name.removesuffix("_scale")])[0], -1)
            if name == "embedding.weight" and self.copied_head is not None:
                self._check_head(tensor)
            yield name, tensor

    def _check_head(self, table: Tensor) -> None:
        head = self.reader.get(str(self.copied_head))
        if head.dtype != table.dtype or not torch.equal(_bits(head), _bits(table)):
            raise ValueError(
                f"{self.folder}: config.json ties the tables, but {self.copied_head!r} differs from the embedding; set "
                "tie_word_embeddings to false in config.json if the model was trained with two tables"
            )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.uint8)


def open_foreign(folder: Path) -> ForeignCheckpoint:
    """Opens a Hugging Face folder and accounts for every tensor; reads headers only.

    Raises:
        ValueError: an unsupported model, a damaged file, or a missing, unexpected or mis-shaped tensor.
    """
    config, family = read_hf_config(folder)
    reader = open_weights(folder)
    theirs, unexpected = _our_names(reader)
    expected = float_shapes(config)
    copied_head = theirs.pop("head.weight", None) if config.tied else None
    weights = {name: source for name, source in theirs.items() if not name.endswith(".weight_scale")}
    scales = {name: source for name, source in theirs.items() if name.endswith(".weight_scale")}
    where = reader.files[0]
    _explain_experts(unexpected, where)
    asked = {theirs.get(name) or their_name(name, family): shape for name, shape in expected.items()}
    if copied_head is not None:
        asked[copied_head] = expected["embedding.weight"]
    present = [*weights.values(), *unexpected, *([copied_head] if copied_head else [])]
    check_shapes({name: reader.shape(name) for name in present}, asked, where)
    for source in theirs.values():
        if reader.dtype(source) not in _FLOATS:
            raise ValueError(
                f"{where}: tensor {source!r} has the type {reader.dtype(source)}; convert reads float32, "
                "float16 and bfloat16: give the checkpoint from before quantization"
            )
    _check_scales(scales, expected, reader, where)
    if config.tied and "head.weight_scale" in scales:
        config = _split_table(config, theirs, reader)
    ordered = {n: theirs[n] for name in float_shapes(config) for n in (name, f"{name}_scale") if n in theirs}
    return ForeignCheckpoint(
        folder=folder, config=config, family=family, reader=reader, names=ordered, copied_head=copied_head
    )


def _our_names(reader: TensorReader) -> tuple[dict[str, str], list[str]]:
    """Our name -> theirs, and the names that mean nothing to us."""
    theirs: dict[str, str] = {}
    unexpected, skipped = [], []
    for source in reader.names:
        name = our_name(source)
        if name is None and source.endswith("rotary_emb.inv_freq"):
            skipped.append(source)  # computed from the config; older checkpoints store it
        elif name is None and source.endswith(f"{_FAKE}zero_point") and _is_zero(reader, source):
            skipped.append(source)
        elif name is None:
            unexpected.append(source)
        elif name in theirs:
            raise ValueError(
                f"{reader.files[0]}: {theirs[name]!r} and {source!r} are one tensor under two names; remove one"
            )
        else:
            theirs[name] = source
    if skipped:
        _log.info("left out %d tensors that carry nothing (%s)", len(skipped), list_names(skipped, 2))
    return theirs, unexpected


def _is_zero(reader: TensorReader, name: str) -> bool:
    """Whether a zero point says that the grid is symmetric, as ours are."""
    return not bool(reader.get(name).any())


def our_name(theirs: str) -> str | None:
    """Our name of a Hugging Face tensor, or None.

    Known are the prefixes `model.`, `language_model.` and `language_model.model.`, feed-forward blocks under
    `feed_forward` (Llama 4) or `mlp` (Llama), and learned scales `<layer>.weight_fake_quantizer.scale`.
    """
    name = _PREFIX.sub("", theirs)
    for suffix, ours in ((f"{_FAKE}scale", ".weight_scale"), (".weight", ".weight")):
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
            layer = _LAYER.match(stem)
            if layer is None:
                return _OUTSIDE[stem] + ours if stem in _OUTSIDE else None
            part = _INSIDE.get(layer[2])
            return None if part is None or str(int(layer[1])) != layer[1] else f"layers.{layer[1]}.{part}{ours}"
    return None


def _split_table(config: ModelConfig, theirs: dict[str, str], reader: TensorReader) -> ModelConfig:
    """Tied tables with a learned grid each: two tables as soon as they are quantized, so they become two here.

    MobileLLM-Pro's accelerator variant does not share its embedding (arXiv 2511.06719). Equal grids stay one table.
    """
    ours, heads = theirs.get("embedding.weight_scale"), theirs["head.weight_scale"]
    if ours is not None and torch.equal(reader.get(ours).flatten(), reader.get(heads).flatten()):
        del theirs["head.weight_scale"]
        return config
    _log.info("input and output table have learned scales of their own: the output table becomes a table of its own")
    theirs["head.weight"] = theirs["embedding.weight"]
    return replace(config, tied=False)


def their_name(ours: str, family: str) -> str:
    """The name that transformers gives one of our weights, for messages about a tensor that is not there."""
    block = "feed_forward." if family == "llama4_text" else "mlp."
    stem = ours.removesuffix(".weight")
    layer = _LAYER.match(stem)
    if layer is None:
        name = next(theirs for theirs, name in _OUTSIDE.items() if name == stem)
        return f"{name}.weight" if name == "lm_head" else f"model.{name}.weight"
    parts = [theirs for theirs, name in _INSIDE.items() if name == layer[2]]
    part = next((p for p in parts if p.startswith(block)), parts[0])
    return f"model.layers.{layer[1]}.{part}.weight"


def _explain_experts(unexpected: list[str], where: Path) -> None:
    experts = [name for name in unexpected if any(f".{p}" in name for p in ("experts.", "router.", "shared_expert."))]
    if experts:
        raise ValueError(f"{where} holds mixture-of-experts layers, which are not supported: {list_names(experts, 3)}")


def _check_scales(
    scales: Mapping[str, str], expected: Mapping[str, tuple[int, ...]], reader: TensorReader, where: Path
) -> None:
    """Learned scales belong to matrices, [N], [N, 1] or [N, S] with S dividing K; all projections have them or none."""
    for name, source in scales.items():
        weight = "embedding.weight" if name == "head.weight_scale" else name.removesuffix("_scale")
        shape, matrix = reader.shape(source), expected.get(weight, ())
        if len(matrix) != 2:
            raise ValueError(f"{where}: learned scales {source!r} belong to no matrix of this model")
        columns = shape[1] if len(shape) == 2 else 1
        if len(shape) not in (1, 2) or shape[0] != matrix[0] or columns < 1 or matrix[1] % columns:
            raise ValueError(
                f"{where}: learned scales {source!r} have the shape {list(shape)}, which does not fit the "
                f"matrix {list(matrix)}: expected {[matrix[0], 1]} or one scale a group"
            )
    if scales:
        lost = [f"{name}_scale" for name in expected if "_proj" in name and f"{name}_scale" not in scales]
        if lost:
            raise ValueError(f"{where} has learned scales, but not for every projection; missing: {list_names(lost)}")
        _log.info("kept the learned scales of %d matrices", len(scales))
