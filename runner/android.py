"""Builds the native runner for a phone: the NDK's clang against an Android build of ExecuTorch that the user provides.

The executorch wheel is for Linux only, so its libraries run on no phone. What is needed in their place is a folder that
looks like the wheel's own (version.py, include/, lib/) with libraries for arm64-v8a. Never run on a phone here.
"""

import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernels.toolchain import Toolchain
from model.errors import EnvironmentFault
from runner.build import runner_program

_API = 26  # Android 8: the oldest whose C library has all that the runner calls
_AARCH64 = 183  # EM_AARCH64, ELF's number of the machine (elf.h)
_LIBRARIES = ("executorch", "executorch_threadpool", "executorch_kernels_optimized", "executorch_kernels_quantized",
              "executorch_backend_xnnpack", "executorch_etdump")  # fmt: skip
_PREBUILT = {"Linux": "linux-x86_64", "Darwin": "darwin-x86_64"}
_CXX = "libc++_shared.so"


@dataclass(frozen=True, kw_only=True)
class PhoneBuild:
    """What has to be on the phone beside the package."""

    program: Path
    libraries: tuple[Path, ...]


def build_for_phone(ndk: Path, sdk: Path) -> PhoneBuild:
    """The runner for arm64-v8a, built now or found.

    Args:
        ndk: Android's NDK (the folder with toolchains/).
        sdk: an Android build of ExecuTorch, laid out as the wheel's folder.

    Raises:
        EnvironmentFault: one of them lacks something, is for another machine, or the build failed.
    """
    compiler = _compiler(ndk)
    libraries = _check_sdk(sdk)
    program = runner_program(Toolchain(str(compiler), "aarch64", sdk))
    return PhoneBuild(program=program, libraries=(*libraries, *_own_libraries(ndk)))


def _prebuilt(ndk: Path) -> Path:
    return ndk / "toolchains" / "llvm" / "prebuilt" / _PREBUILT.get(platform.system(), "linux-x86_64")


def _compiler(ndk: Path) -> Path:
    found = _prebuilt(ndk) / "bin" / f"aarch64-linux-android{_API}-clang++"
    if not found.is_file():
        raise EnvironmentFault(
            f"{ndk} is no Android NDK for this machine: it has no {found.relative_to(ndk)}; install one with Android "
            "Studio's SDK manager or from https://developer.android.com/ndk/downloads, and name its folder with --ndk"
        )
    return found


def _own_libraries(ndk: Path) -> Iterator[Path]:
    """The NDK's C++ library, where it is one that programs bring along."""
    found = _prebuilt(ndk) / "sysroot" / "usr" / "lib" / "aarch64-linux-android" / _CXX
    if found.is_file():
        yield found


def _check_sdk(sdk: Path) -> list[Path]:
    wanted = [sdk / "version.py", sdk / "include" / "executorch" / "runtime" / "executor" / "program.h"]
    libraries = [sdk / "lib" / f"lib{name}.so" for name in _LIBRARIES]
    missing = [str(path.relative_to(sdk)) for path in (*wanted, *libraries) if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
        raise EnvironmentFault(
            f"{sdk} is no Android build of ExecuTorch: it lacks {missing[0]}{more}; --sdk names a folder laid out as "
            "the executorch wheel's (version.py, include/, lib/) with libraries for arm64-v8a: see docs/bench.md"
        )
    for library in libraries:
        with library.open("rb") as file:
            head = file.read(20)
        if head[:4] != b"\x7fELF" or struct.unpack_from("<H", head, 18)[0] != _AARCH64:
            raise EnvironmentFault(
                f"{library} is no library for arm64-v8a (the wheel's own is for Linux on {platform.machine()}); build "
                "ExecuTorch for Android: see docs/bench.md"
            )
    return libraries
