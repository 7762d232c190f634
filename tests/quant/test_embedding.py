"""The quantized table: rows equal to the dequantized matrix, without that matrix."""

import pytest
import torch

from quant.embedding import QuantizedEmbedding
from quant.integers import dequantize, quantize_absmax
from quant.recipe import LayerScheme

GROUP = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CHANNEL = LayerScheme(scheme="int8-channel", bits=8)
CASES = [pytest.param(GROUP, 64, id="int4-group"), pytest.param(CHANNEL, 50, id="int8-channel")]


@pytest.mark.parametrize("scheme, width", CASES)
@pytest.mark.parametrize("shape", [(7,), (1, 5), (2, 3)])
def test_a_lookup_gives_the_dequantized_rows_exactly(scheme: LayerScheme, width: int, shape: tuple[int, ...]) -> None:
    tensor = quantize_absmax(torch.randn(40, width, generator=torch.Generator().manual_seed(0)), scheme)
    tokens = torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(1))
    rows = QuantizedEmbedding(tensor)(tokens)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, dequantize(tensor)[tokens])


def test_four_bit_rows_are_kept_two_codes_a_byte() -> None:
    table = QuantizedEmbedding(quantize_absmax(torch.ones(40, 64), GROUP))
    assert table.codes_packed.shape == (40, 32) and table.codes_packed.dtype == torch.uint8
    assert table.scales.shape == (40, 2) and table.scales.dtype == torch.bfloat16
    assert not list(table.parameters())


def test_a_token_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(IndexError):
        QuantizedEmbedding(quantize_absmax(torch.ones(40, 64), GROUP))(torch.tensor([40]))
