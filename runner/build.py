"""Builds the native runner from its C++ sources and those of the kernels."""

import importlib.metadata
import re
from pathlib import Path

from kernels.sources import SOURCES
from kernels.toolchain import Source, Toolchain, build, host_toolchain
from model.errors import EnvironmentFault

_FOLDER = Path(__file__).resolve().parent
# Instructions that only these files may use; each is called on processors that have them, and empty elsewhere.
_FLAGS: dict[str, dict[str, tuple[str, ...]]] = {
    "roofline_x86_avx2.cpp": {"x86_64": ("-mavx2",)},
    "roofline_x86_avxvnni.cpp": {"x86_64": ("-mavx2", "-mavxvnni")},
    "roofline_x86_avx512vnni.cpp": {"x86_64": ("-mavx512f", "-mavx512bw", "-mavx512vnni")},
    "roofline_arm_neondot.cpp": {"aarch64": ("-march=armv8.2-a+dotprod",)},
    "roofline_arm_i8mm.cpp": {"aarch64": ("-march=armv8.2-a+i8mm",)},
}
_LIBRARIES = (
    "executorch",
    "executorch_threadpool",
    "executorch_kernels_optimized",  # with the portable ones
    "executorch_kernels_quantized",
    "executorch_backend_xnnpack",
    "executorch_etdump",
)


def runner_program(toolchain: Toolchain | None = None) -> Path:
    """The program `pocketlm-runner`, built now or found.

    Args:
        toolchain: another machine's; None is this machine's own.

    Raises:
        EnvironmentFault: there is no compiler or no SDK, or the build failed.
    """
    tools = toolchain or host_toolchain()
    if tools is None:
        raise EnvironmentFault(
            "the native runner needs a C++20 compiler and the SDK of the executorch wheel for Linux; install g++ (on "
            "Debian: apt install g++) or name a compiler in $CXX, or use --runner python"
        )
    return build(
        tools,
        runner_sources(),
        kind="program",
        flags=_versions(tools),
        libraries=_LIBRARIES,
        name="pocketlm-runner",
    )


def runner_sources() -> list[Source]:
    """The runner's own sources and the kernels'."""
    own = [Source(path, _FLAGS.get(path.name, {})) for path in sorted(_FOLDER.glob("*.cpp"))]
    return [*own, *SOURCES]


def _versions(tools: Toolchain) -> tuple[str, ...]:
    found = re.search(r'__version__ = "([^"+]+)', (tools.sdk / "version.py").read_text())
    executorch = found[1] if found else "unknown"
    own = importlib.metadata.version("pocketlm")
    return f'-DPOCKETLM_VERSION="{own}"', f'-DPOCKETLM_EXECUTORCH_VERSION="{executorch}"'
