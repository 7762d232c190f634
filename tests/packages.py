"""Checkpoints and packages that tests share: made once for each state of the code, since lowering takes a while.

They lie in <repository>/.cache/packages/<hash of the code, the versions and the options>/.
"""

import dataclasses
import functools
import hashlib
import math
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import (
    WEIGHTS_FILE,
    companions,
    float_shapes,
    load_model,
    random_checkpoint,
    read_info,
    write_checkpoint,
)
from model.checkpoint_info import QuantizationInfo
from model.config import ModelConfig
from model.files import atomic_output
from quant.fake_quant import is_range, learned_scales, prepare_qat
from quant.plan import layer_shapes
from quant.recipe import find_recipe, plan_layers, read_overrides

ROOT = Path(__file__).resolve().parent.parent
_SOURCES = ("chat", "model", "quant", "export", "tests/packages.py")

# One local and one global layer: the smallest model that has all of MobileLLM-Pro's parts. With N = 241 and chunks of
# 16 the global ring has 256 slots, the local one 79.
TINY = ModelConfig(
    vocab_size=320,
    dim=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    ffn_dim=96,
    global_layers=(1,),
    sliding_window=64,
    max_context=4096,
    rope_theta=10_000.0,
    rope_layout="interleaved",
    qk_norm=True,
)
# The other conventions: halves, untied tables, no QK norm, one layer without RoPE but with a temperature.
OTHER = dataclasses.replace(
    TINY,
    rope_layout="halves",
    qk_norm=False,
    tied=False,
    no_rope_layers=(1,),
    temperature_floor=16,
    temperature_scale=0.1,
    ffn_dim=80,  # 80 is not a multiple of 32: down_proj becomes int8-channel
)
CONTEXT, CHUNK = 241, 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A quantized checkpoint and the package made of it."""

    checkpoint: Path
    package: Path

    @property
    def source(self) -> Path:
        """The float checkpoint that the quantized one was made of."""
        return self.checkpoint.parent / "checkpoint"


def make_checkpoint(config: ModelConfig, out: Path, *, seed: int = 0, own_norms: bool = False) -> None:
    """Random weights with activations of order one, so that attention is peaked and errors in it show.

    Args:
        own_norms: each norm has weights of its own, so that two that change places show; else all have the same.
    """
    random_checkpoint(config, out, seed=seed)
    tensors = load_file(out / WEIGHTS_FILE)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(tensors.items()):
        if tensor.dim() == 2:  # random_checkpoint's deviation is 0.02
            tensor *= 50.0 * (1.0 if name == "embedding.weight" else tensor.shape[1] ** -0.5)
        else:
            same = torch.Generator().manual_seed(seed)
            tensor += 0.2 * torch.randn(tensor.shape, generator=generator if own_norms else same)
    save_file(tensors, out / WEIGHTS_FILE)


def learn_ranges(source: Path, out: Path, recipe: str, *, seed: int = 0) -> None:
    """A float checkpoint as QAT with learned ranges leaves it: each scale moved away from the weights' own."""
    info = read_info(source)
    plan = plan_layers(find_recipe(recipe), layer_shapes(float_shapes(info.config)))
    model = prepare_qat(load_model(source), plan, find_recipe(recipe), learn_ranges=True)
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in sorted(parameters.items()):
            if is_range(name):
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            if name == "embedding.log_scale":
                parameter[7] = math.log(2e-7)  # float16 cannot hold it: the gather has to keep float32 scales
    layers = {name: scheme.to_json() for name, scheme in plan.items()}
    trained_for = QuantizationInfo(
        recipe=recipe, group_size=find_recipe(recipe).group_size, layers=layers, method="trained"
    )
    tensors = {name: parameters[name].detach() for name in float_shapes(info.config)}
    with atomic_output(out) as partial:
        trained = dataclasses.replace(info, learned_scales=True, trained_for=trained_for)
        write_checkpoint(partial, trained, (tensors | learned_scales(model)).items())
        for file in companions(source, info):
            shutil.copyfile(file, partial / file.name)


def make_package(
    config: ModelConfig,
    recipe: str,
    *,
    max_context: int = CONTEXT,
    chunk: int = CHUNK,
    bounded: bool = False,
    learned: bool = False,
    overrides: tuple[str, ...] = (),
    target: str = "xnnpack",
    methods: Literal["two", "one"] | None = None,
) -> Made:
    """The package of these options, from the cache or made now (about 20 s).

    Args:
        learned: the checkpoint is one that was trained for the recipe, with learned ranges.
        overrides: layers that depart from the recipe, as `quantize --override` takes them.
    """
    if target.startswith("coreml-"):
        pytest.importorskip("coremltools", reason="coremltools has no build for this Python or system")
    options = f"{config} {recipe} {max_context} {chunk} {bounded} {learned} {overrides} {target} {methods} " + " ".join(
        f"{name} {version(name)}"
        for name in ("torch", "executorch", "torchao", *(("coremltools",) if target.startswith("coreml-") else ()))
    )
    folder = ROOT / ".cache" / "packages" / hashlib.sha256((_code_hash() + options).encode()).hexdigest()[:24]
    made = Made(checkpoint=folder / "quantized", package=folder / "package")
    if not folder.exists():
        from export.export import export_package
        from quant.checkpoint import quantize_checkpoint

        with atomic_output(folder, overwrite=True) as partial:
            own_norms = learned or target != "xnnpack"
            make_checkpoint(config, partial / ("start" if learned else "checkpoint"), own_norms=own_norms)
            if learned:
                learn_ranges(partial / "start", partial / "checkpoint", recipe)
            departures = read_overrides(overrides)
            quantize_checkpoint(partial / "checkpoint", partial / "quantized", recipe=recipe, overrides=departures)
            export_package(
                partial / "quantized",
                partial / "package",
                targets=(target,),
                methods=methods,
                max_context=max_context,
                prefill_chunk=chunk,
                bounded=bounded,
            )
    return made


@functools.cache
def _code_hash() -> str:
    digest = hashlib.sha256()
    places = [ROOT / source for source in _SOURCES]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    for file in sorted(file for file in files if file.suffix in (".py", ".json")):
        digest.update(f"\n{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def tiny_int4() -> Made:
    """The recipe 8da4w-g32 over TINY, endless over 241 positions."""
    return make_package(TINY, "8da4w-g32")


@pytest.fixture(scope="session")
def tiny_float() -> Made:
    """The recipe float over TINY, endless over 241 positions: a global ring of 256 slots, a local one of 79."""
    return make_package(TINY, "float")


@pytest.fixture(scope="session")
def tiny_bounded() -> Made:
    """8da4w-g32 over TINY, bounded to 96 positions."""
    return make_package(TINY, "8da4w-g32", max_context=96, bounded=True)


@pytest.fixture(scope="session")
def other_int4() -> Made:
    """8da4w-g32 over OTHER: an untied head, an int8-channel exception, the other RoPE layout, a layer without RoPE."""
    return make_package(OTHER, "8da4w-g32")


@pytest.fixture(scope="session")
def tiny_learned() -> Made:
    """8da4w-g32 over TINY, trained with learned ranges; the tied table has one learned grid."""
    return make_package(TINY, "8da4w-g32", learned=True)


@pytest.fixture(scope="session")
def tiny_mixed() -> Made:
    """8da4w-g32 over TINY with layers that depart: the tied table and q_proj in 8 bits, v_proj and a block float."""
    return make_package(
        TINY,
        "8da4w-g32",
        overrides=(
            "embedding=int8-channel",
            "layers.0.attention.q_proj=int8-channel",
            "layers.0.feed_forward.*=float",
            "layers.1.attention.v_proj=float",
        ),
    )


@pytest.fixture(scope="session")
def other_mixed() -> Made:
    """8da4w-g32 over OTHER with a float head over an 8-bit table, and one of two exceptions made float."""
    return make_package(
        OTHER,
        "8da4w-g32",
        overrides=("head=float", "embedding=int8-channel", "layers.1.feed_forward.down_proj=float"),
    )


@pytest.fixture(scope="session")
def tiny_float_table() -> Made:
    """8da4w-g32 over TINY whose tied table stays float."""
    return make_package(TINY, "8da4w-g32", overrides=("embedding=float",))


# For Core ML: 96 slots in global rings, 64 in local ones, so that three chunks of 16 and some steps wrap the local one.
COREML_CONTEXT = 96


@pytest.fixture(scope="session")
def tiny_gpu() -> Made:
    """8da4w-g32 over TINY for coreml-gpu, endless over 96 positions, methods prefill (16 tokens) and forward."""
    return make_package(TINY, "8da4w-g32", target="coreml-gpu", max_context=COREML_CONTEXT)


@pytest.fixture(scope="session")
def tiny_ane() -> Made:
    """4w-channel over TINY for coreml-ane, endless over 96 positions, methods prefill (16 tokens) and forward."""
    return make_package(TINY, "4w-channel", target="coreml-ane", max_context=COREML_CONTEXT)


@pytest.fixture(scope="session")
def tiny_stateful() -> Made:
    """4w-channel over TINY for coreml-stateful, bounded to 96 positions."""
    return make_package(TINY, "4w-channel", target="coreml-stateful", max_context=COREML_CONTEXT, chunk=1)


@pytest.fixture(scope="session")
def other_ane() -> Made:
    """4w-channel over OTHER for coreml-ane in one method: untied, halves, temperature, one layer without RoPE."""
    return make_package(OTHER, "4w-channel", target="coreml-ane", max_context=COREML_CONTEXT, methods="one")


@pytest.fixture(scope="session")
def tiny_ane_learned() -> Made:
    """4w-channel over TINY for coreml-ane, trained with learned ranges."""
    return make_package(TINY, "4w-channel", target="coreml-ane", max_context=COREML_CONTEXT, learned=True)
