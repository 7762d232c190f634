"""Our kernels, built in several ways; each build is made once a session and kept in the cache between them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernels.load import library_path
from kernels.sources import ATTENTION
from kernels.toolchain import Source, Toolchain, build, host_toolchain
from tests.kernels.attention_cases import Driver, Library

HERE = Path(__file__).parent
DRIVER = (*ATTENTION, Source(HERE / "driver.cpp"), Source(HERE / "parallel_threads.cpp"))
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1", "-fno-omit-frame-pointer")


@pytest.fixture(scope="session")
def library() -> Library:
    """The library that Python loads, with ExecuTorch's threads."""
    import torch  # noqa: F401  its libraries come first, as in every process of ours

    return Library(library_path())


@pytest.fixture(scope="session")
def sanitized() -> Iterator[Driver]:
    """With address and undefined-behaviour sanitizers; the first finding ends the program."""
    toolchain = host_toolchain()
    assert toolchain is not None
    program = build(toolchain, DRIVER, kind="program", flags=SANITIZERS, libraries=(), name="attention-sanitized")
    driver = Driver([str(program)], {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"})
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def raced() -> Iterator[Driver]:
    """With the thread sanitizer."""
    toolchain = host_toolchain()
    assert toolchain is not None
    program = build(
        toolchain, DRIVER, kind="program", flags=("-fsanitize=thread", "-g1"), libraries=(), name="attention-threads"
    )
    driver = Driver([str(program)], {"TSAN_OPTIONS": "halt_on_error=1"})
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def aarch64() -> Iterator[Driver]:
    """For aarch64, in qemu."""
    if shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64") is None:
        pytest.skip(
            "aarch64-linux-gnu-g++ and qemu-aarch64 are needed: apt-get install g++-aarch64-linux-gnu qemu-user"
        )
    host = host_toolchain()
    assert host is not None
    toolchain = Toolchain("aarch64-linux-gnu-g++", "aarch64", host.sdk)  # nothing of this SDK is linked
    program = build(toolchain, DRIVER, kind="program", libraries=(), name="attention-aarch64")
    driver = Driver(toolchain.command(program))
    yield driver
    driver.close()
