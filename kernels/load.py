"""Puts our kernels into this process's ExecuTorch, or the stock ones back: the same file runs with either.

The stock libraries must be loaded before (export/native_child.load_kernels does): a kernel that is registered after
ours, under the same name, would end the process. What a method runs is decided when it is loaded.
"""

import ctypes
import functools
import logging
import os
from pathlib import Path
from typing import Literal, cast, get_args

from kernels.sources import SOURCES
from kernels.toolchain import build, host_toolchain
from model.errors import EnvironmentFault

Wanted = Literal["auto", "own", "stock"]

STOCK = "stock kernels"
OPERATORS = (
    "llama::custom_quantized_sdpa",
    "llama::custom_sdpa",
    "llama::update_cache_with_indices",
)  # that ours serve
_LOGGER = logging.getLogger("pocketlm")


def default() -> Wanted:
    """What $POCKETLM_KERNELS says; "auto" where it says nothing.

    Raises:
        ValueError: it says something else than auto, own or stock.
    """
    named = os.environ.get("POCKETLM_KERNELS") or "auto"
    if named not in get_args(Wanted):
        raise ValueError(f"POCKETLM_KERNELS is {named!r}; it must be auto, own or stock")
    return cast(Wanted, named)


def library_of(wanted: Wanted | None) -> Path | None:
    """The library to load for those kernels, built if that was not done yet; None for the stock ones.

    Args:
        wanted: "own", "stock", or "auto": own ones where there is a compiler. None: what `default` says.

    Raises:
        EnvironmentFault: own kernels are wanted, and there is no compiler or it fails.
        ValueError: $POCKETLM_KERNELS is wrong.
    """
    wanted = wanted or default()
    if wanted == "stock":
        return None
    if wanted == "own":
        return library_path()
    if host_toolchain() is None:
        _say_once(
            "no C++ compiler or no SDK here, so attention runs with ExecuTorch's stock kernels, slowly on x86; "
            "install g++"
        )
        return None
    try:
        return library_path()
    except EnvironmentFault as fault:
        _say_once(f"attention runs with ExecuTorch's stock kernels, slowly on x86, since ours cannot be built: {fault}")
        return None


def choose(wanted: Wanted | None = None) -> str:
    """Decides which kernels methods that are loaded from now on run with; see `library_of`.

    Returns:
        What is in use, as `in_use` says it.

    Raises:
        EnvironmentFault: see `library_of`.
        ValueError: $POCKETLM_KERNELS or $POCKETLM_ISA is wrong.
    """
    return use_stock() if library_of(wanted) is None else use_own()


def use_own() -> str:
    """Builds our kernels if that was not done yet, and puts them in the place of the stock ones.

    Returns:
        A title such as "own kernels, AVX-512 VNNI".

    Raises:
        EnvironmentFault: there is no compiler, or it fails.
        ValueError: $POCKETLM_ISA names a path that this processor does not run.
    """
    library = _Loaded.library = _Loaded.library or _load(library_path())
    error = library.pocketlm_install_kernels((os.environ.get("POCKETLM_ISA") or "").encode())
    if error:
        raise ValueError(error.decode())
    return in_use()


def use_stock() -> str:
    """Puts the stock kernels back."""
    if _Loaded.library is not None:
        _Loaded.library.pocketlm_restore_kernels()
    return in_use()


def in_use() -> str:
    """What methods that are loaded now run with: "stock kernels", or the title of ours."""
    return STOCK if _Loaded.library is None else str(_Loaded.library.pocketlm_kernels_title().decode())


def library_path() -> Path:
    """Our kernels as a shared library, built for this machine.

    Raises:
        EnvironmentFault: there is no compiler, or it fails.
    """
    toolchain = host_toolchain()
    if toolchain is None:
        raise EnvironmentFault(
            "our own kernels need a C++ compiler and the executorch wheel's libraries (Linux, x86-64 or aarch64); "
            "install g++, or take the stock kernels (--kernels stock)"
        )
    return build(toolchain, SOURCES, kind="library", name="pocketlm_kernels")


class _Loaded:
    """The library in this process; one, since what it replaced lies in it."""

    library: ctypes.CDLL | None = None


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.pocketlm_install_kernels.restype = ctypes.c_char_p
    library.pocketlm_install_kernels.argtypes = [ctypes.c_char_p]
    library.pocketlm_kernels_title.restype = ctypes.c_char_p
    return library


@functools.cache
def _say_once(sentence: str) -> None:
    _LOGGER.warning(sentence)
