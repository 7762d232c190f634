"""Names what computes a figure: figures of other kernels may differ in their last digits, and speeds by factors."""

from importlib.metadata import version
from pathlib import Path

import torch

from export.operators import called_delegates
from export.pte import read_pte
from export.pte_values import KernelCall, Method
from kernels.load import OPERATORS, STOCK, in_use

# Operators whose arithmetic an own library may replace, by the beginning of their name.
_NAMED = ("llama::custom", "quantized_decomposed::embedding", "pocketlm::")


def torch_kernels() -> str:
    """What runs a checkpoint: "torch 2.13.0 eager, AVX512, 2 threads"."""
    return f"torch {torch.__version__} eager, {torch.backends.cpu.get_cpu_capability()}, {_threads()}"


def package_kernels(program: Path) -> str:
    """What runs a program that is loaded now.

    Such as "ExecuTorch 1.5.1, XnnpackBackend, own kernels, AVX-512 VNNI (llama::custom_quantized_sdpa), stock kernels
    (quantized_decomposed::embedding_4bit)".

    Raises:
        ValueError: the file is damaged.
    """
    method = read_pte(program).method()
    backends = sorted({method.delegate(index).backend for index in called_delegates(method)})
    return ", ".join([f"ExecuTorch {version('executorch')}", *backends, *_libraries(method)])


def simulated_kernels() -> str:
    """What runs a CoreML program here: "pocketlm's CoreML simulation in float16, numpy 2.4.0"."""
    return f"pocketlm's CoreML simulation in float16, numpy {version('numpy')}"


def _libraries(method: Method) -> list[str]:
    """Each library with the operators that it serves in this program."""
    names = {call.operator.partition(".")[0] for call in method.instructions if isinstance(call, KernelCall)}
    served: dict[str, list[str]] = {}
    for name in sorted(names):
        if name.startswith(_NAMED):
            library = in_use() if name in OPERATORS else STOCK
            served.setdefault(library, []).append(name)
    return [f"{library} ({', '.join(operators)})" for library, operators in served.items()]


def _threads() -> str:
    count = torch.get_num_threads()
    return f"{count} thread{'s' if count != 1 else ''}"
