"""Compiles our C++ sources against the SDK that lies in the executorch wheel, and keeps what it built.

It knows compilers and nothing of kernels. Objects and products lie in $POCKETLM_CACHE (default: ~/.cache/pocketlm)
under build/, each below the hash of all that it depends on.
"""

import fcntl
import functools
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from model.errors import EnvironmentFault

Machine = Literal["x86_64", "aarch64"]
Kind = Literal["library", "program"]

ROOT = Path(__file__).resolve().parent.parent  # what the sources' #include "kernels/..." start from
PROCESSES = 2  # compilers at a time
_MACHINES: Mapping[str, Machine] = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_FLAGS = ("-std=c++20", "-O3", "-fPIC", "-Wall", "-Wextra", "-DC10_USING_CUSTOM_GENERATED_MACROS")
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_LAST_LINES = 12  # of a failed compiler's output


@dataclass(frozen=True)
class Source:
    """A C++ file and the flags that it alone needs, a machine each (such as `-mavx512vnni`)."""

    path: Path
    flags_by_machine: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Toolchain:
    """A compiler, the machine that it compiles for, and the executorch wheel's folder for that machine."""

    compiler: str  # as a shell has it: "g++", or "ccache clang++"
    machine: Machine
    sdk: Path

    @property
    def libraries(self) -> Path:
        """Where the SDK's shared libraries are."""
        return self.sdk / "lib"

    @functools.cached_property
    def identity(self) -> str:
        """The versions of compiler and SDK, for hashes.

        Raises:
            EnvironmentFault: the compiler does not start, or the folder holds no SDK.
        """
        try:
            done = subprocess.run(
                [*shlex.split(self.compiler), "--version"], capture_output=True, text=True, check=True
            )
            sdk = (self.sdk / "version.py").read_text()
        except (OSError, subprocess.CalledProcessError) as error:
            raise EnvironmentFault(
                f"no program can be built with {self.compiler} and {self.sdk}: {error}; install g++ 10 or later, or "
                "name a C++20 compiler in $CXX"
            ) from None
        return f"{self.compiler}\n{done.stdout}\n{self.machine}\n{self.sdk}\n{sdk}"

    def command(self, program: Path) -> list[str]:
        """How a program is started on this machine: by itself, or in qemu where it is another machine's.

        Without SME: qemu 7.2 and XNNPACK's SME kernels do not agree on one test model (docs/log-speed.md, 2026-11-21).
        """
        if self.machine == _MACHINES.get(platform.machine()):
            return [str(program)]
        cpu = "max,sme=off" if self.machine == "aarch64" else "max"
        return [f"qemu-{self.machine}", "-cpu", cpu, "-L", f"/usr/{self.machine}-linux-gnu", str(program)]


def host_toolchain() -> Toolchain | None:
    """This machine's compiler ($CXX, else g++, c++ or clang++) and the SDK of the installed wheel.

    Returns:
        None where there is no compiler, where the wheel brings no SDK, or on a system that is not Linux.
    """
    machine = _MACHINES.get(platform.machine())
    named = os.environ.get("CXX")
    compilers = [named] if named else ["g++", "c++", "clang++"]
    compiler = next((name for name in compilers if shutil.which((shlex.split(name) or [""])[0])), None)
    spec = importlib.util.find_spec("executorch")
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    sdk = next((folder for folder in folders if (folder / "lib" / "libexecutorch.so").is_file()), None)
    if sys.platform != "linux" or machine is None or compiler is None or sdk is None:
        return None
    return Toolchain(compiler, machine, sdk)


def cache_folder() -> Path:
    """Where builds are kept: $POCKETLM_CACHE, or ~/.cache/pocketlm."""
    named = os.environ.get("POCKETLM_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "pocketlm"


def build(
    toolchain: Toolchain,
    sources: Sequence[Source],
    *,
    kind: Kind,
    flags: Sequence[str] = (),
    libraries: Sequence[str] = ("executorch", "executorch_threadpool"),
    name: str = "pocketlm",
) -> Path:
    """Compiles and links the sources, or finds what was built of the very same ones before.

    Args:
        flags: for the compiler and the linker, of every source (such as `-fsanitize=address`).
        libraries: the SDK's libraries that are linked whole, used or not, since they register what they hold.
        name: the file's name, without `lib` and `.so`.

    Raises:
        EnvironmentFault: compiler or linker failed (its last lines are in the message), or the cache cannot be written.
    """
    folder = cache_folder() / "build"
    objects = [_object(toolchain, source, flags, folder) for source in sources]
    link = ["-shared" if kind == "library" else "-pie", *flags, *_link_flags(toolchain, libraries)]
    key = _hash(toolchain.identity, *(path.name for path, _ in objects), *link)
    product = folder / key / (f"lib{name}.so" if kind == "library" else name)
    if product.is_file():
        return product
    try:
        product.parent.mkdir(parents=True, exist_ok=True)
        with (product.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several processes want the same: one builds
            if not product.is_file():
                with ThreadPoolExecutor(PROCESSES) as pool:
                    list(pool.map(lambda pair: _make(pair[1], pair[0]), objects))
                paths = [str(path) for path, _ in objects]
                _make([*shlex.split(toolchain.compiler), *paths, *link], product)
    except OSError as error:
        raise EnvironmentFault(
            f"the build cache {folder} cannot be written: {error}; set POCKETLM_CACHE to a folder that can"
        ) from None
    return product


def _object(toolchain: Toolchain, source: Source, flags: Sequence[str], folder: Path) -> tuple[Path, list[str]]:
    """Where a source's object belongs, and the command that makes it (without `-o`)."""
    include = toolchain.sdk / "include"
    portable = include / "executorch" / "runtime" / "core" / "portable_type" / "c10"
    own = source.flags_by_machine.get(toolchain.machine, ())
    strict = ("-Werror",) if os.environ.get("POCKETLM_WERROR") else ()
    options = [*_FLAGS, *strict, f"-I{ROOT}", "-isystem", str(include), "-isystem", str(portable), *flags, *own]
    texts = [path.read_bytes().hex() for path in sorted(_with_headers(source.path))]
    key = _hash(toolchain.identity, str(source.path), *options, *texts)
    command = [*shlex.split(toolchain.compiler), *options, "-c", str(source.path)]
    return folder / "objects" / f"{key}.o", command


def _with_headers(source: Path) -> set[Path]:
    """A file and all that it includes of ours, directly or through others."""
    found, waiting = {source}, [source]
    while waiting:
        file = waiting.pop()
        for name in _INCLUDE.findall(file.read_text()):
            header = next((place / name for place in (file.parent, ROOT) if (place / name).is_file()), None)
            if header is not None and header not in found:
                found.add(header)
                waiting.append(header)
    return found


def _link_flags(toolchain: Toolchain, libraries: Sequence[str]) -> list[str]:
    """Links against the SDK by a path that the program keeps; another machine's libraries need symbols not here."""
    foreign = toolchain.machine != _MACHINES.get(platform.machine())
    wanted = [f"-l{library}" for library in libraries]
    place = [f"-L{toolchain.libraries}", f"-Wl,-rpath,{toolchain.libraries}"]
    unknown = ["-Wl,--allow-shlib-undefined"] if foreign else []
    return [*place, *unknown, "-Wl,--no-as-needed", *wanted, "-Wl,--as-needed", "-pthread", "-ldl"]


def _make(command: Sequence[str], out: Path) -> None:
    """Runs a compiler or linker command, whose output appears whole or not at all.

    Raises:
        EnvironmentFault: it failed.
    """
    if out.is_file():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True)
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:])
            what = Path(command[-1]).name if "-c" in command else out.name
            raise EnvironmentFault(f"{command[0]} could not build {what} (exit code {done.returncode}):\n{last}")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
