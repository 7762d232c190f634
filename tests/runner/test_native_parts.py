"""The native runner's own arithmetic against published vectors, definitions and Python."""

import ctypes
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.toolchain import Source, build, host_toolchain

HERE = Path(__file__).parent
RUNNER = HERE.parent.parent / "runner"


@pytest.fixture(scope="module")
def native():
    toolchain = host_toolchain()
    assert toolchain is not None
    sources = [RUNNER / "sampler.cpp", RUNNER / "threads.cpp", RUNNER / "json.cpp", HERE / "native_check.cpp"]
    return ctypes.CDLL(str(build(toolchain, [Source(path) for path in sources], kind="library", name="native_check")))


def words(native, name, first, count):
    out = (ctypes.c_uint64 * count)()
    getattr(native, name)(first, out, count)
    return list(out)


def picks(native, logits, *, temperature=1.0, top_p=1.0, seed=0, count=1):
    values = (ctypes.c_float * len(logits))(*logits)
    out = (ctypes.c_int64 * count)()
    native.check_pick(
        values,
        len(logits),
        ctypes.c_double(temperature),
        ctypes.c_double(top_p),
        ctypes.c_uint64(seed),
        out,
        count,
    )
    return list(out)


def test_the_random_numbers_are_the_published_ones(native):
    # Vectors of the authors' C code (prng.di.unimi.it), as other libraries' tests have them.
    assert words(native, "check_splitmix", ctypes.c_uint64(1234567), 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert words(native, "check_xoshiro", (ctypes.c_uint64 * 4)(1, 2, 3, 4), 6) == [
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
    ]


def test_greedy_takes_the_first_of_the_largest_and_refuses_numbers_that_overflowed(native):
    assert picks(native, [0.0, 3.0, 3.0, -1.0], temperature=0) == [1]
    for wrong in (float("nan"), float("inf"), -float("inf")):
        assert picks(native, [wrong] * 3) == [-1]
    assert picks(native, [0.0, float("nan")], temperature=0) == [-1]


def test_a_seed_draws_the_same_ids_again_and_another_one_draws_others(native):
    logits = list(np.random.default_rng(0).normal(size=50))
    first = picks(native, logits, seed=7, count=40)
    assert picks(native, logits, seed=7, count=40) == first
    assert picks(native, logits, seed=8, count=40) != first


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_ids_come_as_often_as_the_softmax_says(native, temperature):
    logits = np.array([0.0, 1.0, -1.0, 2.0, 0.5], dtype=np.float32)
    count = 40_000
    wanted = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    found = np.bincount(picks(native, logits, temperature=temperature, seed=3, count=count), minlength=5)
    # 6 standard deviations of a binomial count; the seed is fixed, so this never flickers.
    assert np.all(np.abs(found - count * wanted) < 6 * np.sqrt(count * wanted * (1 - wanted)))


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=60),
    st.floats(0.05, 1.0, exclude_max=True),
    st.integers(0, 2**63 - 1),
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(native, logits, top_p, seed):
    values = np.array(logits, dtype=np.float32).astype(np.float64)
    probs = np.exp(values - values.max())
    probs /= probs.sum()
    order = np.argsort(-probs, kind="stable")
    before = np.cumsum(probs[order]) - probs[order]
    allowed = set(order[before < top_p + 1e-12].tolist())
    assert set(picks(native, logits, top_p=top_p, seed=seed, count=20)) <= allowed


def cpu(root, index, capacity=None, clock=None, siblings=None):
    folder = root / "sys/devices/system/cpu" / f"cpu{index}"
    for name, value in (
        ("cpu_capacity", capacity),
        ("cpufreq/cpuinfo_max_freq", clock),
        ("topology/thread_siblings_list", siblings),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if value is not None:
            (folder / name).write_text(f"{value}\n")


def cores(native, root):
    return native.check_fast_cores(str(root).encode())


@pytest.mark.skipif(
    not {0, 1} <= os.sched_getaffinity(0), reason="the process may not use two processors that are known here"
)
def test_the_fast_cores_are_counted_and_no_thread_twice(native, tmp_path):
    for name, first, second, wanted in (
        ("phone", {"capacity": 1024}, {"capacity": 300}, 1),
        ("middle", {"capacity": 1024}, {"capacity": 760}, 2),
        ("clocks", {"clock": 2800000}, {"clock": 1100000}, 1),
        ("alike", {}, {}, 2),
        ("threads", {"siblings": "0-1"}, {"siblings": "0-1"}, 1),
    ):
        cpu(tmp_path / name, 0, **first)
        cpu(tmp_path / name, 1, **second)
        assert cores(native, tmp_path / name) == wanted, name
    (tmp_path / "alike/sys/fs/cgroup").mkdir(parents=True)
    for quota, wanted in (("100000 100000", 1), ("150000 100000", 2), ("max 100000", 2)):
        (tmp_path / "alike/sys/fs/cgroup/cpu.max").write_text(quota + "\n")
        assert cores(native, tmp_path / "alike") == wanted, quota
    assert cores(native, tmp_path / "nothing") == 1


def again(native, text):
    out = ctypes.create_string_buffer(1 << 16)
    native.check_json(text.encode(), out, len(out))
    return out.value.decode()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\é\n', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_json_comes_back_as_python_wrote_it(native, value):
    for ascii_only in (True, False):
        assert json.loads(again(native, json.dumps(value, ensure_ascii=ascii_only))) == value


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", '{"a" 1}', "tru", '"a', '"\\x"', "1 2", "nan", "[" * 100, '"\x01"', "{1: 2}", "-"]
)
def test_what_is_no_json_is_refused_with_the_place(native, text):
    assert again(native, text).startswith("!the text is not JSON: ")
