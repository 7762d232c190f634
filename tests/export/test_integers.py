"""Comparing the codes and scales inside a program with those of its checkpoint."""

import dataclasses
import random
from pathlib import Path

import pytest
import torch

from export.file_weights import FileWeight, read_weights
from export.integers import compare_integers
from export.pte import Pte, read_pte
from quant.integers import QuantizedTensor, dequantize
from tests.export.tiny_programs import tied_float, tied_integer


@pytest.fixture(scope="module")
def weights() -> list[FileWeight]:
    return list(read_weights(read_pte(tied_integer().path)))


def changed(tmp_path: Path, weight: FileWeight, *, scales: bool = False, at: int = 0, mask: int = 0x10) -> Pte:
    """The integer program with one byte of one weight's codes or scales changed."""
    source = tied_integer().path
    content = bytearray(source.read_bytes())
    part = bytes(weight.scale_content if scales else weight.content)
    start = content.index(part)
    assert content.count(part) == 1
    content[start + at] ^= mask
    path = tmp_path / "changed.pte"
    path.write_bytes(content)
    return read_pte(path)


def test_an_untouched_program_has_no_problem():
    assert compare_integers(read_pte(tied_integer().path), tied_integer().expected) == []
    assert compare_integers(read_pte(tied_float().path), tied_float().expected) == []


def test_codes_and_scales_are_read_as_they_were_given(weights):
    for weight, (name, tensor) in zip(weights, tied_integer().expected, strict=True):
        assert torch.equal(weight.codes(), tensor.codes), name
        assert torch.equal(weight.scales().float(), tensor.scales.float()), name
        assert weight.kind == tensor.scheme.scheme, name
        assert weight.group_size == tensor.scheme.group_size, name


def test_some_rows_are_those_rows(weights):
    for weight in weights:
        assert torch.equal(weight.codes(slice(5, 17)), weight.codes()[5:17])
        assert torch.equal(weight.scales(slice(5, 17)), weight.scales()[5:17])


def test_dynamic_int8_activations_are_seen(weights):
    assert [w.activations for w in weights] == ["float"] + ["int8-dynamic"] * 5
    assert [w.activations for w in read_weights(read_pte(tied_float().path))] == ["float"] * 3


def test_one_changed_code_names_its_layer_and_place(tmp_path, weights):
    up = weights[2]
    pte = changed(tmp_path, up, at=12 * 32 + 3, mask=0x10)  # row 12, high nibble of byte 3: column 7
    assert compare_integers(pte, tied_integer().expected) == ["up: 1 of 10240 codes differ, first at [12, 7]"]


def test_one_changed_code_of_an_int8_layer_names_its_layer(tmp_path, weights):
    side = weights[4]
    pte = changed(tmp_path, side, at=3 * 64 + 9, mask=1)
    assert compare_integers(pte, tied_integer().expected) == ["side: 1 of 4096 codes differ, first at [3, 9]"]


def test_one_changed_scale_names_its_layer(tmp_path, weights):
    pte = changed(tmp_path, weights[3], scales=True, at=2 * (7 * 5 + 2), mask=1)  # row 7, group 2 of 5, two bytes each
    assert compare_integers(pte, tied_integer().expected) == ["down: 1 of 320 scales differ, first at [7, 2]"]


def test_a_changed_scale_of_the_table_names_the_table_alone(tmp_path, weights):
    pte = changed(tmp_path, weights[0], scales=True, at=1)
    problems = compare_integers(pte, tied_integer().expected)
    assert problems == ["embedding: 1 of 192 scales differ, first at [0, 0]"]


def test_two_layers_of_one_shape_that_changed_places_in_a_delegate_are_no_problem():
    """XNNPACK orders the nodes of a delegate itself."""
    expected = list(tied_integer().expected)
    expected[1], expected[2] = expected[2], expected[1]
    assert compare_integers(read_pte(tied_integer().path), expected) == []


def test_two_layers_of_one_shape_that_changed_places_across_delegates_are_named():
    expected = dict(tied_float().expected)
    expected["mix"], expected["head"] = expected["head"][:64], expected["mix"].repeat(2, 1)[:96]
    problems = compare_integers(read_pte(tied_float().path), tuple(expected.items()))
    assert [p.split(":")[0] for p in problems] == ["mix", "head"]


def test_a_weight_that_stayed_float_is_named():
    scheme = tied_integer().named("side").scheme
    codes = torch.zeros(64, 64, dtype=torch.int8)
    expected = dict(tied_float().expected)
    expected["mix"] = QuantizedTensor(codes=codes, scales=torch.ones(64, 1), scheme=scheme)
    assert compare_integers(read_pte(tied_float().path), tuple(expected.items())) == [
        "mix: the file's weight is float, the checkpoint's int8-channel"
    ]


def test_integers_where_floats_belong_are_named():
    expected = dict(tied_integer().expected)
    expected["down"] = dequantize(expected["down"])
    assert compare_integers(read_pte(tied_integer().path), tuple(expected.items())) == [
        "down: the file's weight is int4-group of 32, the checkpoint's float"
    ]


def test_another_group_size_is_named():
    down = tied_integer().named("side")
    expected = dict(tied_integer().expected)
    scheme = dataclasses.replace(tied_integer().named("gate").scheme, group_size=64)
    expected["side"] = QuantizedTensor(
        codes=down.codes.clamp(-8, 7), scales=torch.ones(64, 1, dtype=torch.bfloat16), scheme=scheme
    )
    assert compare_integers(read_pte(tied_integer().path), tuple(expected.items())) == [
        "side: the file's weight is int8-channel, the checkpoint's int4-group of 64"
    ]


def test_a_missing_layer_is_named():
    expected = (*tied_integer().expected, ("layers.1.extra", torch.ones(4, 4)))
    assert compare_integers(read_pte(tied_integer().path), expected) == [
        "the program has 5 linear weights, the checkpoint 6",
        "layers.1.extra: its float weight [4, 4] is not in the program",
    ]


def test_a_layer_too_many_is_named():
    expected = tuple(item for item in tied_integer().expected if item[0] != "down")
    problems = compare_integers(read_pte(tied_integer().path), expected)
    assert problems[0] == "the program has 5 linear weights, the checkpoint 4"
    assert len(problems) == 2
    assert "[64, 160], int4-group" in problems[1]


def test_a_missing_table_and_a_table_too_many_are_named():
    linears = tied_integer().expected[1:]
    assert "this table is not in the checkpoint" in compare_integers(read_pte(tied_integer().path), linears)[0]
    twice = (*tied_integer().expected, tied_integer().expected[0])
    assert "embedding: missing" in compare_integers(read_pte(tied_integer().path), twice)[0]


def test_a_table_that_is_read_with_its_neighbours_swapped_is_seen():
    """Fed the usual order of nibbles and used as it comes, the same operator gives the same codes."""
    weight = next(read_weights(read_pte(tied_integer().path)))
    assert not weight.even_high
    high = dataclasses.replace(weight, even_high=True)
    pairs = weight.codes().view(-1, 2)
    assert torch.equal(high.codes().view(-1, 2), pairs.flip(-1))


def test_flipped_bytes_in_payload_tables_end_in_value_errors_or_problems(tmp_path):
    pte = read_pte(tied_integer().path)
    content = tied_integer().path.read_bytes()
    random.seed(3)
    path = tmp_path / "bad.pte"
    noticed = 0
    for _ in range(150):
        delegate = random.choice(pte.method().delegates)
        segment = pte.segments[delegate.segment]
        damaged = bytearray(content)
        damaged[segment.offset + random.randrange(segment.size)] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        try:
            noticed += bool(compare_integers(read_pte(path), tied_integer().expected))
        except ValueError:
            noticed += 1
    assert noticed > 20
