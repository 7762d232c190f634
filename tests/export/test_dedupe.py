"""Storing a tied table once: the program shrinks by exactly the table and answers the same."""

import hashlib
import subprocess
import sys

import pytest
import torch

from export.dedupe import equal_bytes, share_constants
from export.integers import compare_integers
from export.pte import Pte, read_pte
from tests.export.tiny_programs import (
    DIM,
    MAX_TOKENS,
    VOCABULARY,
    Lowered,
    big_table,
    run,
    tied_float,
    tied_integer,
)

PROGRAMS = {"float": tied_float, "integer": big_table}


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def program(request) -> Lowered:
    return PROGRAMS[request.param]()


@pytest.fixture(scope="module")
def shared(program, tmp_path_factory) -> Pte:
    path = tmp_path_factory.mktemp("shared") / "model.pte"
    share_constants(program.path, path)
    return read_pte(path)


def table_segment(pte: Pte) -> int:
    """The largest named blob: XNNPACK's copy of the table."""
    return max(pte.named_data.values(), key=lambda index: pte.segments[index].size)


def test_the_table_is_stored_once(program, shared):
    pte = read_pte(program.path)
    table = pte.segments[table_segment(pte)].size
    saved = len(pte.data) - len(shared.data)
    assert table - 4096 < saved <= table + 128  # whole pages, or all of it at the end of the file


def test_the_named_table_points_into_the_constants(shared):
    blob, constants = shared.segments[table_segment(shared)], shared.segments[shared.constant_segment]
    assert constants.offset <= blob.offset
    assert blob.offset + blob.size <= constants.offset + constants.size


def test_every_segment_holds_what_it_held(program, shared):
    pte = read_pte(program.path)
    assert len(pte.segments) == len(shared.segments)
    for index in range(len(pte.segments)):
        assert bytes(pte.segment(index)) == bytes(shared.segment(index))


def test_alignment_is_kept(program, shared):
    pte = read_pte(program.path)
    moved = table_segment(pte)
    for index, (old, new) in enumerate(zip(pte.segments, shared.segments, strict=True)):
        if index == moved:
            assert new.offset % 16 == 0  # XNNPACK's CONSTANT_TENSOR_ALIGNMENT
        else:
            assert (new.offset - old.offset) % 4096 == 0


def test_it_answers_exactly_the_same(program, shared):
    for tokens in ([[3, 95, 0]], [[1]], [list(range(MAX_TOKENS))]):
        example = (torch.tensor(tokens), torch.arange(len(tokens[0])).unsqueeze(0))[: len(program.example)]
        before, after = run(program.path, example), run(shared.path, example)
        assert torch.equal(before, after)
        assert before.abs().max() > 0.01


def test_it_answers_like_the_eager_module(program, shared):
    assert torch.allclose(run(shared.path, program.example), program.module(*program.example), atol=1e-4)


def test_the_integers_are_still_the_checkpoints(program, shared):
    assert compare_integers(shared, program.expected) == []


def test_the_header_ends_where_the_file_ends(shared):
    assert int.from_bytes(shared.data[32:40], "little") + shared.segment_base == len(shared.data)


def test_sharing_twice_changes_nothing(shared, tmp_path):
    assert share_constants(shared.path, tmp_path / "again.pte") == 0
    assert (tmp_path / "again.pte").read_bytes() == bytes(shared.data)


def test_small_constants_stay_where_they_are(tmp_path):
    """Less than a page cannot be cut out without touching alignments."""
    small = tied_integer()
    assert VOCABULARY * DIM // 2 < 4096
    assert share_constants(small.path, tmp_path / "small.pte") == 0
    assert (tmp_path / "small.pte").read_bytes() == small.path.read_bytes()


def test_two_processes_write_the_same_bytes(program, shared, tmp_path):
    code = "import sys; from pathlib import Path; from export.dedupe import share_constants as s; "
    code += "s(Path(sys.argv[1]), Path(sys.argv[2]))"
    out = tmp_path / "other.pte"
    subprocess.run([sys.executable, "-c", code, str(program.path), str(out)], check=True)
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(shared.data).digest()


def test_rewriting_in_place_is_refused():
    with pytest.raises(ValueError, match="in place"):
        share_constants(tied_float().path, tied_float().path)


def test_a_file_that_is_no_program_is_refused(tmp_path):
    (tmp_path / "x.pte").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not an ExecuTorch program"):
        share_constants(tmp_path / "x.pte", tmp_path / "y.pte")
    assert not (tmp_path / "y.pte").exists()


def test_one_different_byte_is_different():
    left = bytearray(3 << 20)
    right = bytearray(left)
    assert equal_bytes(memoryview(left), memoryview(right))
    right[(2 << 20) + 7] = 1
    assert not equal_bytes(memoryview(left), memoryview(right))
    assert not equal_bytes(memoryview(left), memoryview(right)[:-1])
