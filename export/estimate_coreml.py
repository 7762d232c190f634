"""How many bytes a `.pte` for Core ML will have, from shapes alone, and what its export costs. Loads no torch.

The weights are exact: codes, float16 scales and norms, each behind a header of 64 bytes and aligned to 64, each once.
What is left, the program's text and the tables around it, is linear in the layers; its figures were read off files that
coremltools 9.0 and executorch 1.5.1 wrote (docs/numerics.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from export.estimate_file import FileBytes
from export.plan import ExportPlan
from export.static_layout import row_chunks
from model.checkpoint import float_shapes
from model.config import ModelConfig
from quant.plan import layer_shapes
from quant.recipe import LayerScheme

_MIB = 1 << 20
_BLOB = 64  # bytes: of the header before each constant in the file of weights, and what everything there is aligned to
_HALF = 2  # bytes of a float16
_SHARED = 100  # elements from which equal constants of one method are stored once (coremltools 9.0)
_TABLE, _HEAD = "embedding", "head"


@dataclass(frozen=True, kw_only=True)
class _Text:
    """Bytes of one method's instructions."""

    fixed: int
    layer: int  # with RoPE and without QK norm
    qk_norm: int  # of a layer with RoPE
    no_rope: int  # what a layer without RoPE has more than `layer`
    temperature: int  # and that one, where the model has temperatures
    chunk: int  # each chunk of table and head but the first
    own_head: int  # a chunk of a head of its own
    small_bias: int  # a product of so few rows that its bias of zeros is not shared


_STATIC = _Text(
    fixed=7_460, layer=24_595, qk_norm=6_423, no_rope=-5_900, temperature=588, chunk=4_292, own_head=307, small_bias=177
)
_STATEFUL = _Text(
    fixed=18_250,
    layer=27_875,
    qk_norm=6_423,
    no_rope=-5_900,
    temperature=588,
    chunk=4_292,
    own_head=307,
    small_bias=177,
)
_AROUND, _AROUND_METHOD, _AROUND_LAYER = 6_450, 3_280, 1_141  # tables and metadata: the file, a method, a layer of it
_AROUND_STATEFUL = 5_210  # of all of it: states are no inputs
# Of an export: torch and both compilers before any layer; then for each layer of each method, and for the weights.
_BASE_BYTES, _LAYER_BYTES, _COPIES = 530 * _MIB, 8 * _MIB, 22.0
_BASE_SECONDS, _LAYER_SECONDS, _MIB_SECONDS = 6.0, 4.0, 0.25


def coreml_file_bytes(config: ModelConfig, schemes: Mapping[str, LayerScheme], plan: ExportPlan) -> FileBytes:
    """The parts of the `.pte` that an export will write.

    Args:
        schemes: of every weight matrix, as `quant.plan.read_plan` gives them; none of them float.
    """
    shapes = layer_shapes(float_shapes(config))
    table = _stored(schemes[_TABLE], shapes[_TABLE])
    matrices = sum(_stored(schemes[name], shape) for name, shape in shapes.items() if name != _TABLE)
    norms = (2 * config.num_layers + 1) * (_aligned(_HALF * config.dim) + _BLOB)
    return FileBytes(constants=table + norms + _rows(config, plan), matrices=matrices, graph=_graph(config, plan))


def _stored(scheme: LayerScheme, shape: tuple[int, int]) -> int:
    """Codes and scales of a matrix [N, K], in row chunks if it is a table's (a layer's has one)."""
    rows, columns = shape
    total = 0
    for part in row_chunks(rows):
        scales = part * (columns // scheme.group_size if scheme.group_size else 1)
        total += _aligned(part * columns * scheme.bits // 8) + _aligned(_HALF * scales) + 2 * _BLOB
    return total


def _rows(config: ModelConfig, plan: ExportPlan) -> int:
    """What a stateful program keeps of positions: a table of cosines, one of sines, and the slots' numbers."""
    if plan.target.is_static:
        return 0
    tables = 2 * (_aligned(_HALF * plan.context.tokens * config.head_dim // 2) + _BLOB)
    if config.temperature_floor and config.no_rope_layers:
        tables += _aligned(_HALF * plan.context.tokens) + _BLOB
    return tables + sum(_aligned(4 * slots) + _BLOB for slots in {layer.slots for layer in plan.cache.layers})


def _graph(config: ModelConfig, plan: ExportPlan) -> int:
    """Instructions of every method, biases of zeros, tables and metadata."""
    methods = 2 if plan.methods == "two" and plan.chunk > 1 else 1
    text = _STATIC if plan.target.is_static else _STATEFUL
    chunks = row_chunks(config.vocab_size)
    products = [rows for rows, _ in config.layer_matrices.values()]
    one = text.fixed + text.chunk * (len(chunks) - 1) + (0 if config.tied else text.own_head * len(chunks))
    for layer in range(config.num_layers):
        one += text.layer + text.small_bias * sum(rows < _SHARED for rows in products)
        if config.uses_rope(layer):
            one += text.qk_norm if config.qk_norm else 0
        else:
            one += text.no_rope + (text.temperature if config.temperature_floor else 0)
    around = _AROUND + methods * (_AROUND_METHOD + config.num_layers * _AROUND_LAYER)
    if not plan.target.is_static:
        around = _AROUND_STATEFUL
    return methods * one + around + _biases(config, chunks, methods)


def _biases(config: ModelConfig, chunks: tuple[int, ...], methods: int) -> int:
    """coremltools gives each product a bias of zeros; equal ones are shared, small ones only between methods."""
    products = [rows for rows, _ in config.layer_matrices.values()] * config.num_layers + list(chunks)
    large = {rows for rows in products if rows >= _SHARED}
    small = [rows for rows in products if rows < _SHARED]
    kept = [*large, *(set(small) if methods > 1 else small)]
    return sum(_aligned(_HALF * rows) + _BLOB for rows in kept)


def coreml_export_cost(config: ModelConfig, plan: ExportPlan, program: FileBytes) -> tuple[int, int]:
    """Peak bytes and seconds of an export."""
    layers = config.num_layers * (2 if plan.methods == "two" and plan.chunk > 1 else 1)
    peak = _BASE_BYTES + layers * _LAYER_BYTES + int(_COPIES * program.total)
    seconds = _BASE_SECONDS + layers * _LAYER_SECONDS + program.total / _MIB * _MIB_SECONDS
    return peak, round(seconds)


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _BLOB) * _BLOB
