"""Our checkpoint folder: `checkpoint.json`, `model.safetensors`, the tokenizer, its template and the licences.

Knows nothing of foreign formats (model/hf.py); loads torch only when tensors are touched. Format: docs/architecture.md.
"""

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from model.checkpoint_info import CheckpointInfo, is_licence
from model.config import PRESETS, ModelConfig
from model.files import atomic_output, dump_json, read_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from model.tensor_files import TensorReader
    from model.tokenizer import TokenizerSpec
    from model.transformer import Transformer

INFO_FILE = "checkpoint.json"
WEIGHTS_FILE = "model.safetensors"
TEMPLATE_FILE = "chat_template.json"

_ENTRY_BYTES = 256  # more than one tensor's entry in a safetensors header ever takes
_INIT_STD = 0.02  # Llama's `initializer_range`

_log = logging.getLogger("pocketlm")


def copy_licences(source: Path, target: Path) -> tuple[str, ...]:
    """Copies every licence and notice file of one folder into another; returns their names, sorted."""
    names = sorted(path.name for path in source.iterdir() if path.is_file() and is_licence(path.name))
    for name in names:
        shutil.copyfile(source / name, target / name)
    return tuple(names)


def find_preset_name(config: ModelConfig) -> str | None:
    """The name of the preset that equals `config` in every field."""
    return next((name for name, preset in PRESETS.items() if preset == config), None)


def float_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a float checkpoint's tensors, in the order in which they are written."""
    dim, matrices = config.dim, config.layer_matrices
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocab_size, dim)}
    for i in range(config.num_layers):
        for block in ("attention", "feed_forward"):
            shapes[f"layers.{i}.{block}_norm.weight"] = (dim,)
            shapes |= {f"layers.{i}.{n}.weight": shape for n, shape in matrices.items() if n.startswith(f"{block}.")}
    shapes["norm.weight"] = (dim,)
    if not config.tied:
        shapes["head.weight"] = (config.vocab_size, dim)
    return shapes


def read_info(folder: Path) -> CheckpointInfo:
    """Reads `checkpoint.json` without torch.

    Raises:
        ValueError: the folder is no checkpoint, or its description is damaged or from a newer version.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        hint = (
            "; it looks like a Hugging Face folder: run `pocketlm convert` on it first"
            if (folder / "config.json").is_file()
            else "; give a folder that `pocketlm convert` made"
        )
        raise ValueError(f"{path} is missing{hint}")
    try:
        return CheckpointInfo.from_json(read_json(path))
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def open_tensors(folder: Path) -> "TensorReader":
    """Opens a checkpoint's weights: names and shapes at once, tensors on demand.

    Raises:
        ValueError: the weight file is missing, truncated or corrupt.
    """
    from model.safetensors_file import open_safetensors
    from model.tensor_files import TensorReader

    path = folder / WEIGHTS_FILE
    return TensorReader(open_safetensors(path), [path])


def write_checkpoint(folder: Path, info: CheckpointInfo, tensors: Iterable[tuple[str, "Tensor"]]) -> None:
    """Streams the weights into an existing folder, then describes them. Call it inside `atomic_output`.

    Raises:
        ValueError: a tensor comes twice.
    """
    from model.safetensors_file import write_safetensors

    is_plain = info.quantization is None and not info.learned_scales
    names = len(float_shapes(info.config)) * (1 if is_plain else 3)  # weight, or codes and scales; and a learned scale
    write_safetensors(folder / WEIGHTS_FILE, tensors, header_bytes=names * _ENTRY_BYTES)
    (folder / INFO_FILE).write_text(dump_json(info.to_json()), encoding="utf-8")


def companions(folder: Path, info: CheckpointInfo) -> list[Path]:
    """The files that travel with the weights: tokenizer, chat template and licences.

    Raises:
        ValueError: one of them is missing.
    """
    names = list(info.licences)
    if info.tokenizer is not None:
        names += [info.tokenizer.file, TEMPLATE_FILE]
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing, though {INFO_FILE} lists it; copy or convert it again")
    return [folder / name for name in names]


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: Path) -> None:
    """Accounts for every tensor.

    Raises:
        ValueError: one is missing, unexpected or mis-shaped; the message names them.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        lists = {"missing": missing, "unexpected": unexpected}
        parts = "; ".join(f"{what} tensors: {list_names(names)}" for what, names in lists.items() if names)
        raise ValueError(f"{where} does not fit its config: {parts}; take config and weights from the same model")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ValueError(
                f"{where}: tensor {name!r} has the shape {list(found[name])}, its config asks for "
                f"{list(shape)}; take config and weights from the same model"
            )


def list_names(names: Iterable[str], most: int = 6) -> str:
    """The first few names and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def load_model(folder: Path, dtype: "torch.dtype | None" = None) -> "Transformer":
    """A float checkpoint as a model, read tensor by tensor.

    Args:
        dtype: of all parameters; None means float32, whatever the file holds.

    Raises:
        ValueError: the checkpoint is quantized, incomplete, or holds NaN or infinity.
    """
    import torch

    from model.tensor_files import check_finite
    from model.transformer import Transformer

    info = read_info(folder)
    if info.quantization is not None:
        recipe = info.quantization.recipe
        raise ValueError(f"{folder} is quantized ({recipe}); give the float checkpoint that it was made from")
    reader = open_tensors(folder)
    found = {name: reader.shape(name) for name in reader.names if not name.endswith(".weight_scale")}
    check_shapes(found, float_shapes(info.config), folder / WEIGHTS_FILE)
    with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
        model = Transformer(info.config)
    state: dict[str, torch.nn.Parameter] = {}
    for name in found:
        tensor = reader.get(name)
        check_finite(name, tensor, folder / WEIGHTS_FILE)
        state[name] = torch.nn.Parameter(tensor.to(dtype or torch.float32))
    if info.config.tied:
        state["head.weight"] = state["embedding.weight"]
    model.load_state_dict(state, assign=True)
    return model


def adopt_tokenizer(source: Path, target: Path, vocab_size: int) -> "TokenizerSpec | None":
    """Copies a folder's tokenizer into a checkpoint folder and writes its declarative chat template beside it.

    A tiktoken file becomes a tokenizer.json with the same ids: the phones' reader splits the file itself wrongly.

    Returns:
        The tokenizer's description, or None (nothing is written) when `source` has no tokenizer.

    Raises:
        ValueError: tokenizer and vocabulary disagree, or a tiktoken file is damaged or of an unknown vocabulary.
        GateError: the tokenizer.json made from a tiktoken file has other ids than tiktoken.
    """
    from model.template import derive_template
    from model.tiktoken_json import convert_tiktoken
    from model.tokenizer import read_tokenizer_spec

    made = convert_tiktoken(source, target, vocab_size=vocab_size)
    spec = read_tokenizer_spec(source, vocab_size=vocab_size, made=made)
    if spec is None:
        _log.warning("%s has no tokenizer: the checkpoint takes token ids only", source)
        return None
    if made is None:
        shutil.copyfile(source / spec.file, target / spec.file)
    template = derive_template(source, spec, tokenizer=target)
    (target / TEMPLATE_FILE).write_text(dump_json(template.to_json()), encoding="utf-8")
    padding = f"; {vocab_size - spec.vocab_size} rows of the table are padding" if spec.vocab_size < vocab_size else ""
    _log.info("tokenizer: %s, %d entries%s", spec.file, spec.vocab_size, padding)
    return spec


def random_checkpoint(
    config: ModelConfig,
    out: Path,
    *,
    seed: int,
    dtype: Literal["float32", "bfloat16"] = "float32",
    tokenizer: Path | Literal["bytes", "none"] = "bytes",
    overwrite: bool = False,
) -> CheckpointInfo:
    """Writes a checkpoint of seeded random weights: matrices normal with deviation 0.02, norms 1.

    Args:
        tokenizer: a folder whose tokenizer, chat template and licences are taken, "bytes" for a byte-level one made
            here, or "none".

    Raises:
        ValueError: `out` exists, or the tokenizer does not fit `config.vocab_size`.
    """
    with atomic_output(out, overwrite=overwrite) as partial:
        spec: TokenizerSpec | None = None
        licences: tuple[str, ...] = ()
        if isinstance(tokenizer, Path):
            spec, licences = adopt_tokenizer(tokenizer, partial, config.vocab_size), copy_licences(tokenizer, partial)
        elif tokenizer == "bytes":
            from model.byte_tokenizer import write_byte_tokenizer

            with tempfile.TemporaryDirectory() as made:
                write_byte_tokenizer(Path(made), config.vocab_size)
                spec = adopt_tokenizer(Path(made), partial, config.vocab_size)
        recipe = dump_json({"config": config.to_json(), "dtype": dtype, "seed": seed})
        info = CheckpointInfo(
            config=config,
            preset=find_preset_name(config),
            family="random",
            tokenizer=spec,
            licences=licences,
            source_sha256=hashlib.sha256(recipe.encode()).hexdigest(),
        )
        _log.info("writing %s random parameters, seed %d", f"{config.num_parameters:,}", seed)
        write_checkpoint(partial, info, _random_tensors(config, seed, dtype))
    return info


def _random_tensors(config: ModelConfig, seed: int, dtype: str) -> "Iterator[tuple[str, Tensor]]":
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, shape in float_shapes(config).items():
        is_norm = len(shape) == 1
        tensor = torch.ones(shape) if is_norm else torch.empty(shape).normal_(std=_INIT_STD, generator=generator)
        yield name, tensor.to(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
