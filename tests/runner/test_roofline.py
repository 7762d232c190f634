"""The loops behind the two ceilings: what they read and multiply is all there, and what they measure is possible."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.toolchain import Source, Toolchain, build, host_toolchain
from runner.build import runner_sources

HERE = Path(__file__).resolve().parent


def roofline_sources():
    return [s for s in runner_sources() if s.path.name.startswith("roofline") or s.path.name == "memory.cpp"]


@pytest.fixture(scope="module")
def loops():
    toolchain = host_toolchain()
    if toolchain is None:
        pytest.skip("no C++ compiler, or no executorch SDK for this system")
    sources = [*roofline_sources(), Source(HERE / "roofline_check.cpp")]
    library = ctypes.CDLL(str(build(toolchain, sources, kind="library", libraries=())))
    library.check_title.restype = library.check_best.restype = ctypes.c_char_p
    library.check_sum.restype, library.check_multiply.restype = ctypes.c_uint64, ctypes.c_int64
    library.check_bandwidth.restype = library.check_peak.restype = ctypes.c_double
    library.check_count.restype = library.check_products.restype = ctypes.c_size_t
    library.check_sum.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.check_multiply.argtypes = [ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
    return library


def supported(loops):
    return [i for i in range(loops.check_count()) if loops.check_is_supported(i)]


@given(st.integers(0, 3000), st.integers(0, 2**64 - 1), st.sampled_from([1, 2, 4]))
def test_every_word_is_read_once_by_every_loop(loops, count, seed, streams):
    words = np.random.default_rng(seed).integers(0, 2**64, count + 1, dtype=np.uint64)[1:]  # not aligned
    expected = int(words.sum(dtype=np.uint64))
    for i in supported(loops):
        assert loops.check_sum(i, words.ctypes.data, count, streams) == expected, loops.check_title(i)


@given(st.integers(0, 127), st.integers(-128, 127), st.integers(0, 2000))
def test_every_product_counts(loops, a, b, steps):
    for i in supported(loops):
        assert loops.check_multiply(i, a, b, steps) == steps * loops.check_products(i) * a * b, loops.check_title(i)


def test_the_best_loop_is_the_first_that_is_supported_and_the_last_runs_anywhere(loops):
    found = supported(loops)
    assert loops.check_best() == loops.check_title(found[0])
    assert found[-1] == loops.check_count() - 1
    assert loops.check_title(found[-1]) == b"portable"


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_measured_is_within_what_processors_can_do(loops, threads):
    # From a phone's slowest core to the fastest server: 0.1 to 2,000 GB/s, and an instruction a cycle at 0.1 to 8 GHz,
    # of at most 128 operations, four of them at once.
    assert 0.1 < loops.check_bandwidth(threads) < 2000
    assert 0.1 < loops.check_peak(threads) < threads * 8 * 128 * 4


@pytest.mark.emulated
def test_the_same_holds_on_aarch64():
    if shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64") is None:
        pytest.skip(
            "aarch64-linux-gnu-g++ and qemu-aarch64 are needed: apt-get install g++-aarch64-linux-gnu qemu-user"
        )
    sdk = host_toolchain().sdk  # of another machine, but nothing of it is linked
    toolchain = Toolchain("aarch64-linux-gnu-g++", "aarch64", sdk)
    program = build(toolchain, [*roofline_sources(), Source(HERE / "roofline_main.cpp")], kind="program", libraries=())
    done = subprocess.run(toolchain.command(program), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[:3] == ["NEON i8mm", "NEON dot product", "portable"]
