"""weight.bin against coremltools' own writer, and what a damaged one says."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageWriter
from hypothesis import given
from hypothesis import strategies as st

from export.mil.weights import WeightFile, unpack_nibbles

RANDOM = np.random.default_rng(5)
# dtype of the program, the writer's method, the numbers as they are handed to it
WRITTEN: list[tuple[str, str, Any]] = [
    ("float16", "write_fp16_data", RANDOM.standard_normal(15).astype(np.float16)),
    ("float32", "write_float_data", RANDOM.standard_normal(15).astype(np.float32)),
    ("int8", "write_int8_data", RANDOM.integers(-128, 128, 15, dtype=np.int8)),
    ("uint8", "write_uint8_data", RANDOM.integers(0, 256, 15, dtype=np.uint8)),
    ("int16", "write_int16_data", RANDOM.integers(-(2**15), 2**15, 15, dtype=np.int16)),
    ("uint16", "write_uint16_data", RANDOM.integers(0, 2**16, 15, dtype=np.uint16)),
    ("int32", "write_int32_data", RANDOM.integers(-(2**31), 2**31, 15, dtype=np.int32)),
    ("int4", "write_int4_data", RANDOM.integers(-8, 8, 15, dtype=np.int8)),
    ("uint4", "write_uint4_data", RANDOM.integers(0, 16, 15, dtype=np.uint8)),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, int]]:
    """A file with a constant of each type, and their offsets."""
    path = tmp_path_factory.mktemp("weights") / "weight.bin"
    writer = _BlobStorageWriter(str(path))
    offsets = {}
    for dtype, method, numbers in WRITTEN:
        handed = numbers.view(np.uint16) if dtype == "float16" else numbers
        offsets[dtype] = getattr(writer, method)(handed)
    del writer
    return Path(path).read_bytes(), offsets


@pytest.mark.parametrize(("dtype", "method", "numbers"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_what_coremltools_writes_is_read_back(
    written: tuple[bytes, dict[str, int]], dtype: str, method: str, numbers: Any
) -> None:
    data, offsets = written
    weights = WeightFile(data)
    assert weights.count == len(WRITTEN)
    found = weights.array(offsets[dtype], dtype, (3, 5))
    assert np.array_equal(found, numbers.reshape(3, 5))
    assert found.dtype == numbers.dtype


@given(st.lists(st.integers(-8, 7), max_size=41))
def test_the_low_nibble_comes_first(numbers: list[int]) -> None:
    padded = [*numbers, 0]
    packed = bytes(padded[i] & 15 | (padded[i + 1] & 15) << 4 for i in range(0, len(numbers), 2))
    assert unpack_nibbles(packed, len(numbers), signed=True).tolist() == numbers
    assert unpack_nibbles(packed, len(numbers), signed=False).tolist() == [number & 15 for number in numbers]


def test_a_wrong_offset_type_or_shape_is_named(written: tuple[bytes, dict[str, int]]) -> None:
    data, offsets = written
    weights = WeightFile(data)
    for offset, dtype, shape, sentence in [
        (offsets["int4"] + 64, "int4", (15,), "no header|in the file"),
        (offsets["int4"] + 1, "int4", (15,), "multiple of 64"),
        (0, "int4", (15,), "multiple of 64"),
        (2**40 * 64, "int4", (15,), "leads outside"),
        (offsets["int4"], "int8", (15,), "is int4 in the file"),
        (offsets["int8"], "int8", (16,), "takes 16 bytes, but has 15"),
        (offsets["int4"], "int4", (16,), "padding"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            weights.array(offset, dtype, shape)


def test_a_damaged_file_is_a_value_error_and_never_reads_outside(written: tuple[bytes, dict[str, int]]) -> None:
    data, offsets = written
    with pytest.raises(ValueError, match="its header alone"):
        WeightFile(data[:10])
    with pytest.raises(ValueError, match="version 7"):
        WeightFile(struct.pack("<II", 1, 7) + data[8:])
    at = offsets["float32"]
    for field, value in ((8, 2**60), (16, 2**60), (16, 64), (0, 0xDEADBEEE), (4, 5)):
        broken = bytearray(data)
        struct.pack_into("<Q" if field >= 8 else "<I", broken, at + field, value)
        with pytest.raises(ValueError, match=r"^weight\.bin: "):
            WeightFile(bytes(broken)).array(at, "float32", (15,))
    with pytest.raises(ValueError, match="claims the bytes"):
        WeightFile(data[: at + 70]).array(at, "float32", (15,))
