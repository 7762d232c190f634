"""Two codes in a byte: which nibble, which shift, and the way back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quant.packing import pack_int4, unpack_int4


def test_the_even_column_lies_in_the_low_nibble_shifted_by_eight() -> None:
    codes = torch.tensor([[-8, 7, 0, -1]], dtype=torch.int8)
    assert pack_int4(codes).tolist() == [[0xF0, 0x78]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**31))
def test_unpacking_undoes_packing(rows: int, pairs: int, seed: int) -> None:
    codes = torch.randint(-8, 8, (rows, 2 * pairs), generator=torch.Generator().manual_seed(seed)).to(torch.int8)
    assert torch.equal(unpack_int4(pack_int4(codes)), codes)


def test_every_byte_unpacks_and_packs_to_itself() -> None:
    packed = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(16, 16)
    assert torch.equal(pack_int4(unpack_int4(packed)), packed)


def test_leading_dimensions_are_kept() -> None:
    assert unpack_int4(torch.zeros(2, 3, 4, dtype=torch.uint8)).shape == (2, 3, 8)


@pytest.mark.parametrize("codes", [
    torch.zeros(2, 3, dtype=torch.int8), torch.zeros(2, 4), torch.zeros(4, dtype=torch.int8),
    torch.full((1, 2), 8, dtype=torch.int8), torch.full((1, 2), -9, dtype=torch.int8),
])  # fmt: skip
def test_what_cannot_be_packed_is_refused(codes: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"can pack an int8 matrix with an even width|4 bits hold -8 to 7"):
        pack_int4(codes)


def test_packed_codes_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"packed codes are uint8, not torch\.int8"):
        unpack_int4(torch.zeros(1, 2, dtype=torch.int8))
