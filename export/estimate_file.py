"""How many bytes a program file will have, from shapes alone. Loads no torch.

The weights are exact: codes, scales and norms, aligned as ExecuTorch aligns them, a tied table once. What is left, the
graph itself, is linear in the number of layers; its figures were read off files that executorch 1.5.1 wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from export.plan import ExportPlan
from model.checkpoint import float_shapes
from model.config import ModelConfig
from quant.plan import layer_shapes
from quant.recipe import LayerScheme, Recipe

_ALIGNMENT = 128  # bytes; executorch/exir/capture/_config.py, `segment_alignment`
_PAGE = 4096  # a shared table is cut out in whole pages: export/dedupe.py
_HEAD = "head"
_TABLE = "embedding"


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """Bytes of tables and delegates without a single weight (executorch 1.5.1)."""

    fixed: int
    layer: int  # over a ring, RoPE in halves, no QK norm


_RING_SHAPE = 6020  # a mask and its two branches, for each shape of ring
_NO_RING = -332  # a layer whose cache does not wrap needs no choice between two ways to attend
_INTERLEAVED = 876  # RoPE over pairs (2i, 2i + 1)
_QK_NORM = 3248
_NO_ROPE = -596  # a layer without RoPE, temperature included
_ONE_TOKEN = -2432  # a layer of a program whose chunk is one token: no length is dynamic
_GRAPHS = {  # by backend and what the recipe says of activations
    ("XnnpackBackend", "int8-dynamic"): _Graph(fixed=13_264, layer=20_936),
    ("XnnpackBackend", "float"): _Graph(fixed=10_856, layer=13_516),
}


@dataclass(frozen=True, kw_only=True)
class FileBytes:
    """The parts of a `.pte`."""

    constants: int  # the input table and the norms: read in place, from the mapped file
    matrices: int  # codes and scales of the linear layers, which XNNPACK copies as it loads them
    graph: int  # tables, instructions, delegates

    @property
    def total(self) -> int:
        return self.constants + self.matrices + self.graph

    @property
    def mapped(self) -> int:
        """What a runtime reads in place for as long as the program is loaded."""
        return self.constants + self.graph


def stored_bytes(scheme: LayerScheme, rows: int, columns: int) -> tuple[int, int]:
    """Bytes of a matrix [N rows, K columns]: its codes (or floats), and its scales."""
    if scheme.scheme == "float":
        return 4 * rows * columns, 0
    scales = 2 * rows * (columns // scheme.group_size) if scheme.group_size else 4 * rows
    return rows * columns * scheme.bits // 8, scales


def linear_layers(config: ModelConfig, schemes: Mapping[str, LayerScheme]) -> dict[str, tuple[LayerScheme, int, int]]:
    """Scheme, N and K of every matrix that is multiplied with: all but the input table; a tied table as `head`."""
    shapes = layer_shapes(float_shapes(config))
    found = {name: (schemes[name], *shape) for name, shape in shapes.items() if name != _TABLE}
    return found if _HEAD in found else found | {_HEAD: (schemes[_TABLE], *shapes[_TABLE])}


def file_bytes(config: ModelConfig, schemes: Mapping[str, LayerScheme], recipe: Recipe, plan: ExportPlan) -> FileBytes:
    """The parts of the `.pte` that an export will write.

    Args:
        schemes: of every weight matrix, as `quant.plan.read_plan` gives them.

    Raises:
        ValueError: nobody has measured a file of such a backend yet.
    """
    codes, scales = stored_bytes(schemes[_TABLE], config.vocab_size, config.dim)
    matrices = sum(_aligned(part) for layer in linear_layers(config, schemes).values() for part in stored_bytes(*layer))
    if config.tied:
        matrices -= sum(_aligned(part) // _PAGE * _PAGE for part in (codes, scales) if part >= _PAGE)
    gathered = codes + scales * (2 if schemes[_TABLE].group_size else 1)  # float16 for the gather, and bf16
    norms = 4 * config.dim * (2 * config.num_layers + 1)
    return FileBytes(constants=gathered + norms, matrices=matrices, graph=_graph_bytes(config, recipe, plan))


def _graph_bytes(config: ModelConfig, recipe: Recipe, plan: ExportPlan) -> int:
    graph = _GRAPHS.get((plan.target.backend, recipe.activations))
    if graph is None:
        raise ValueError(
            f"no file of target {plan.target.name} with recipe {recipe.name} was measured yet, so none can be "
            f"estimated; measured backends: {', '.join(sorted({backend for backend, _ in _GRAPHS}))}"
        )
    total = graph.fixed + _RING_SHAPE * len({(c.slots, c.window) for c in plan.cache.layers if c.ring})
    for cache in plan.cache.layers:
        total += graph.layer + (0 if cache.ring else _NO_RING) + (_ONE_TOKEN if plan.chunk == 1 else 0)
        if config.uses_rope(cache.layer):
            total += _INTERLEAVED * (config.rope_layout == "interleaved") + _QK_NORM * config.qk_norm
        else:
            total += _NO_ROPE
    return _aligned(total)


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
