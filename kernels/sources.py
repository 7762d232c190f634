"""Which C++ files make up our kernels, and the flags that single files need."""

from pathlib import Path

from kernels.toolchain import Source

_HERE = Path(__file__).resolve().parent
_AVX2 = ("-mavx2", "-mfma")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni")

# Attention for one instruction set is compiled for it, alone; which one runs is decided when it runs.
_FLAGS: dict[str, dict[str, tuple[str, ...]]] = {
    "attend_avx2.cpp": {"x86_64": _AVX2},
    "attend_avx512.cpp": {"x86_64": _AVX512},
    "attend_neon.cpp": {"aarch64": ("-march=armv8.2-a+dotprod",)},
}
_ATTENTION = (
    "attend_avx2.cpp",
    "attend_avx512.cpp",
    "attend_neon.cpp",
    "attend_portable.cpp",
    "attention.cpp",
    "c_api.cpp",
    "paths.cpp",
    "scratch.cpp",
    "visible.cpp",
)
_EXECUTORCH = ("operators.cpp", "parallel.cpp", "registry.cpp")

# Attention alone: knows nothing of ExecuTorch, and wants somebody to run its tasks (parallel.h).
ATTENTION: tuple[Source, ...] = tuple(Source(_HERE / name, _FLAGS.get(name, {})) for name in _ATTENTION)
# All of our kernels, for a process with ExecuTorch.
SOURCES: tuple[Source, ...] = (*ATTENTION, *(Source(_HERE / name) for name in _EXECUTORCH))
