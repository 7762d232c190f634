"""Text that was trained on is found by its hashes, wherever the list of the training run lies."""

from evaluation.listed import lists_beside
from evaluation.text import read_text
from evaluation.trained_on import find_overlap
from tests.evaluation.test_text import listing


def test_documents_are_found_as_they_are_and_without_the_end_of_their_line(tmp_path):
    listed = listing(tmp_path, ("a", "train", "one"), ("b", "train", "two\n"), ("c", "held_out", "three"))
    file = tmp_path / "text.txt"
    file.write_text("one\ntwo\nthree\nfour\n")
    overlap = find_overlap(read_text(str(file), protocol="lines"), [listed])
    assert overlap is not None and (overlap.documents, overlap.of, overlap.listed) == (2, 4, listed)
    assert "trained on 2 of the 4 documents" in overlap.sentence and "held-out" in overlap.sentence


def test_a_file_that_was_one_training_document_counts_with_all_of_its_parts(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("one\ntwo\n")
    listed = listing(tmp_path, ("text.txt", "train", "one\ntwo\n"))
    overlap = find_overlap(read_text(str(file), protocol="lines"), [listed])
    assert overlap is not None and overlap.documents == 2


def test_held_out_text_is_nobodys_training_text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("three\n")
    listed = listing(tmp_path, ("a", "train", "one"), ("c", "held_out", "three"))
    assert find_overlap(read_text(str(file), protocol="lines"), [listed, listed]) is None
    assert find_overlap(read_text(str(file), protocol="lines"), []) is None


def test_the_lists_of_a_checkpoint_are_its_own_and_that_of_its_run(tmp_path):
    run, asset = tmp_path / "run", tmp_path / "asset"
    of_run = listing(run / "tokens", ("a", "train", "one"))
    (run / "checkpoint").mkdir()
    of_asset = listing(asset, ("a", "train", "one"))
    assert lists_beside(run / "checkpoint") == [of_run]
    assert lists_beside(asset) == [of_asset]
    assert lists_beside(tmp_path / "elsewhere") == []
