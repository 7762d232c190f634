"""Says of every instruction of a program what it does and which layer it serves, by its place between the matrices.

A program keeps no names, but it runs layer after layer: the matrices come in the model's order, seven a layer, and each
layer ends with its last one. What stands before the first norm is the input (embedding, positions, masks), what
stands after the last layer is the output (last norm, head).
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from export.file_weights import XNNPACK, delegate_weights
from export.pte import Pte
from export.pte_values import DelegateCall, KernelCall, Method
from export.xnn_payload import read_payload
from model.config import ModelConfig

Group = Literal["matrices", "attention", "cache", "elementwise", "the rest"]
GROUPS: tuple[Group, ...] = ("matrices", "attention", "cache", "elementwise", "the rest")
INPUT, OUTPUT = "input", "output"
LAYER_MATRICES = 7  # q, k, v, o, gate, up, down

_ATTENTION = ("llama::custom_sdpa", "llama::custom_quantized_sdpa")
_CACHE = ("llama::update_cache", "quantized_decomposed::choose_qparams", "quantized_decomposed::quantize_per")
_NORM = "aten::mean"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one instruction is."""

    operator: str  # "llama::custom_quantized_sdpa", "XNNPACK: feed-forward"
    group: Group
    stage: str  # "input", "layer 7", "output"


def stages(num_layers: int) -> list[str]:
    """All stages in the order in which they run."""
    return [INPUT, *(f"layer {i}" for i in range(num_layers)), OUTPUT]


def find_places(pte: Pte, config: ModelConfig) -> list[Place]:
    """A place for every instruction of `forward`.

    Raises:
        ValueError: the program's delegates hold other matrices than a model of this shape has.
    """
    method = pte.method()
    shapes = [_matrices(pte, method, call) for call in method.instructions]
    _check(pte, config, [shape for found in shapes for shape in found])
    before = [0, *accumulate(len(found) for found in shapes)]  # matrices before each instruction
    first = next(
        i
        for i, call in enumerate(method.instructions)
        if shapes[i] or (isinstance(call, KernelCall) and call.operator.startswith(_NORM))
    )
    places = []
    for at, call in enumerate(method.instructions):
        layer = before[at] // LAYER_MATRICES
        stage = INPUT if at < first else OUTPUT if layer >= config.num_layers else f"layer {layer}"
        operator, group = _what(method, call, before[at], len(shapes[at]), config)
        places.append(Place(operator=operator, group=group, stage=stage))
    return places


def _matrices(pte: Pte, method: Method, call: object) -> list[tuple[int, int]]:
    """N and K of each matrix that an instruction multiplies with."""
    if not isinstance(call, DelegateCall) or method.delegate(call.delegate).backend != XNNPACK:
        return []
    graph = read_payload(method.delegate(call.delegate).payload)
    return [weight.shape for weight in delegate_weights(pte, call.delegate, graph)]


def _check(pte: Pte, config: ModelConfig, found: list[tuple[int, int]]) -> None:
    heads, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    layer = [
        (heads, config.dim), (keys, config.dim), (keys, config.dim), (config.dim, heads),
        (config.ffn_dim, config.dim), (config.ffn_dim, config.dim), (config.dim, config.ffn_dim),
    ]  # fmt: skip
    expected = [sorted(layer)] * config.num_layers + [[(config.vocab_size, config.dim)]]
    rows = [sorted(found[i : i + LAYER_MATRICES]) for i in range(0, len(found), LAYER_MATRICES)]
    if rows != expected:
        raise ValueError(
            f"{pte.path} multiplies with {len(found)} matrices whose shapes are not those of {config.num_layers} "
            f"layers of {LAYER_MATRICES} and a head, so no time can be given to a layer; profile a file that "
            "`pocketlm export` wrote"
        )


def _what(method: Method, call: object, before: int, own: int, config: ModelConfig) -> tuple[str, Group]:
    """Operator and group of an instruction that multiplies with `own` matrices after `before` others."""
    if isinstance(call, KernelCall):
        name = call.operator.partition(".")[0]
        if name.startswith(_ATTENTION):
            return name, "attention"
        return name, "cache" if name.startswith(_CACHE) else "the rest"
    if not isinstance(call, DelegateCall):
        return f"control: {type(call).__name__.lower()}", "the rest"
    backend = "XNNPACK" if (full := method.delegate(call.delegate).backend) == XNNPACK else full
    return f"{backend}: {_product(before, own, config)}", "matrices" if own else "elementwise"


def _product(before: int, own: int, config: ModelConfig) -> str:
    """What matrices `before` to `before + own` are for; the order is q, k, v (as it comes), o, gate, up, down."""
    if not own:
        return "element by element"
    if before >= LAYER_MATRICES * config.num_layers:
        return "head"
    kinds = ["q, k, v", "q, k, v", "q, k, v", "o", "feed-forward", "feed-forward", "feed-forward"]
    first = before % LAYER_MATRICES
    return " and ".join(dict.fromkeys(kinds[first : first + own]))
