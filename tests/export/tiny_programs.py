"""Small programs that the tests of `.pte` readers share: each is lowered once a run, in seconds."""

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from quant.integers import QuantizedTensor, quantize_absmax
from quant.recipe import LayerScheme

INT4 = LayerScheme(scheme="int4-group", bits=4, group_size=32)
INT8 = LayerScheme(scheme="int8-channel", bits=8)
VOCABULARY, DIM, WIDE, MAX_TOKENS = 96, 64, 160, 8
_FOLDER = tempfile.TemporaryDirectory(prefix="pocketlm-tiny-")  # lives as long as the test process


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A program on disk, what it was made from in the order in which it is computed, and the eager module."""

    path: Path
    expected: tuple[tuple[str, QuantizedTensor | Tensor], ...]
    module: nn.Module
    example: tuple[Tensor, ...]

    def named(self, name: str) -> QuantizedTensor | Tensor:
        return dict(self.expected)[name]


class TiedInteger(nn.Module):
    """A table, a gate, an INT8 product, a cache and a head over the table: every storage that a package has."""

    def __init__(self, tensors: dict[str, QuantizedTensor]) -> None:
        from export.table import ExportTable
        from quant.embedding import QuantizedEmbedding
        from quant.linear import build_linear

        super().__init__()
        self.table = ExportTable(QuantizedEmbedding(tensors["embedding"]))
        for name in ("gate", "up", "down", "side", "head"):
            setattr(self, name, build_linear(tensors[name]))
        self.norm = nn.Parameter(torch.linspace(0.5, 1.5, DIM), requires_grad=False)
        self.register_buffer("cache", torch.zeros(1, 12, 1, DIM))

    def forward(self, tokens: Tensor, slots: Tensor) -> Tensor:
        x = self.table(tokens)
        x = x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        torch.ops.llama.update_cache_with_indices(x.unsqueeze(2), self.cache, 0, slots)
        x = x + self.side(x * self.norm)
        return self.head(x[:, -1]) + self.cache.sum()


class TiedFloat(nn.Module):
    """The same float matrix as input table and output layer, and a matrix product that no delegate takes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, DIM)
        self.mix = nn.Linear(DIM, DIM, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.linear(self.mix(self.table(tokens))[:, -1], self.table.weight)


class TiedTable(nn.Module):
    """An INT4 table that is input and output, large enough to be worth sharing."""

    def __init__(self, tensor: QuantizedTensor) -> None:
        from export.table import ExportTable
        from quant.embedding import QuantizedEmbedding
        from quant.linear import build_linear

        super().__init__()
        self.table = ExportTable(QuantizedEmbedding(tensor))
        self.head = build_linear(tensor)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens)[:, -1])


@functools.cache
def big_table() -> Lowered:
    torch.manual_seed(4)
    tensor = quantize_absmax(torch.randn(16 * VOCABULARY, DIM) * 0.1, INT4)
    _register()
    module, example = TiedTable(tensor), (torch.tensor([[3, 95, 0]]),)
    path = _lower(module, example, "big_table", {})
    return Lowered(path=path, expected=(("embedding", tensor), ("head", tensor)), module=module, example=example)


@functools.cache
def undelegated() -> Lowered:
    """The float program as portable kernels: what an export must never ship."""
    module = tied_float().module
    example = tied_float().example
    path = _lower(module, example, "undelegated", {}, delegated=False)
    return Lowered(path=path, expected=tied_float().expected, module=module, example=example)


@functools.cache
def tied_integer() -> Lowered:
    torch.manual_seed(1)
    shapes = {
        "embedding": (VOCABULARY, DIM),
        "gate": (WIDE, DIM),
        "up": (WIDE, DIM),
        "down": (DIM, WIDE),
        "side": (DIM, DIM),
    }
    tensors = {
        name: quantize_absmax(torch.randn(shape) * 0.1, INT8 if name == "side" else INT4)
        for name, shape in shapes.items()
    }
    tensors["head"] = tensors["embedding"]
    example = (torch.tensor([[3, 95, 0]]), torch.tensor([[0, 1, 2]]))
    _register()
    module = TiedInteger(tensors)
    path = _lower(module, example, "tied_integer", {"get_max_seq_len": MAX_TOKENS, "get_n_layers": 1})
    order = ("embedding", "gate", "up", "down", "side", "head")
    return Lowered(path=path, expected=tuple((n, tensors[n]) for n in order), module=module, example=example)


@functools.cache
def tied_float() -> Lowered:
    torch.manual_seed(2)
    module = TiedFloat().requires_grad_(False)
    example = (torch.tensor([[3, 95, 0]]),)
    path = _lower(module, example, "tied_float", {})
    table = module.table.weight.detach()
    expected = (("embedding", table), ("mix", module.mix.weight.detach()), ("head", table))
    return Lowered(path=path, expected=expected, module=module, example=example)


def run(path: Path, example: tuple[Tensor, ...]) -> Tensor:
    """What the program answers in ExecuTorch's own runtime."""
    _register()
    from executorch.runtime import Runtime

    return Runtime.get().load_program(path).load_method("forward").execute(example)[0].clone()


def _register() -> None:
    import executorch.kernels.quantized  # noqa: F401
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401


def _lower(
    module: nn.Module, example: tuple[Tensor, ...], name: str, constants: dict[str, int], delegated: bool = True
) -> Path:
    """Tokens (and slots) may be 1 to MAX_TOKENS, as in a package."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass
    from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass

    with torch.no_grad():
        length = torch.export.Dim("T", min=1, max=MAX_TOKENS)
        shapes = tuple({1: length} for _ in example)
        traced = torch.export.export(module.eval(), example, dynamic_shapes=shapes, strict=False)
        edge = to_edge_transform_and_lower(
            traced,
            partitioner=[XnnpackPartitioner()] if delegated else [],
            constant_methods=constants,
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        lowered = edge.to_executorch(
            ExecutorchBackendConfig(
                extract_delegate_segments=True,
                memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
                sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
            )
        )
    path = Path(_FOLDER.name) / f"{name}.pte"
    with path.open("wb") as file:
        lowered.write_to_file(file)
    return path
