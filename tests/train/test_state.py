"""The state on disk: what is saved is loaded bit for bit, the newest whole one is found, and old ones go."""

import json
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from train.state import State, load_newest, newest_state, save_state

TENSORS = {
    "model.a": torch.tensor([[1.5, -0.0], [float("inf"), 1e-45]]),
    "adam.step.a": torch.tensor(7.0),
    "random.cpu": torch.arange(256, dtype=torch.uint8),
    "model.half": torch.ones(3, dtype=torch.bfloat16),
}


def state(step: int) -> State:
    return State(step=step, tensors={**TENSORS, "model.step": torch.tensor([step])}, facts={"threads": 2, "name": "ä"})


def no_notes(line: str) -> None:
    pytest.fail(line)


def steps(folder) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path):
    path = save_state(tmp_path / "states", state(3), keep=2)
    found = load_newest(tmp_path / "states", no_notes)
    assert found is not None and found.step == 3 and found.facts == {"threads": 2, "name": "ä"}
    assert path.name == "step-00000003" and newest_state(tmp_path / "states") == path
    theirs = load_file(path / "state.safetensors")  # any reader of safetensors can look into it
    for name, tensor in {**TENSORS, "model.step": torch.tensor([3])}.items():
        for loaded in (found.tensors[name], theirs[name]):
            assert loaded.dtype == tensor.dtype and loaded.shape == tensor.shape
            assert loaded.flatten().view(torch.uint8).tolist() == tensor.flatten().view(torch.uint8).tolist()


def test_no_state_is_none(tmp_path):
    assert load_newest(tmp_path / "missing", no_notes) is None and newest_state(tmp_path / "missing") is None
    (tmp_path / "step-12").mkdir()  # not a name of ours
    (tmp_path / ".step-00000003.partial-0123abcd").mkdir()
    assert load_newest(tmp_path, no_notes) is None and newest_state(tmp_path) is None


@given(st.lists(st.integers(1, 99), min_size=1, max_size=6), st.integers(2, 4))
def test_the_newest_up_to_the_one_just_saved_are_kept(tmp_path_factory, saved, keep):
    folder, expected = tmp_path_factory.mktemp("states"), []
    for step in saved:
        save_state(folder, state(step), keep=keep)
        expected = sorted({*(s for s in expected if s <= step), step})[-keep:]
        assert steps(folder) == expected


def test_damaged_ones_are_named_and_passed_over(tmp_path):
    for step in (5, 10, 15):
        save_state(tmp_path, state(step), keep=3)
    file = tmp_path / "step-00000015" / "state.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    facts = tmp_path / "step-00000010" / "state.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"version": 2}))
    notes: list[str] = []
    found = load_newest(tmp_path, notes.append)
    assert found is not None and found.step == 5
    assert [note.split(" is damaged")[0] for note in notes] == ["the state of step 15", "the state of step 10"]
    assert "state.safetensors" in notes[0] and "state.json is no training state of version 1" in notes[1]


def test_a_hash_finds_a_single_bit(tmp_path):
    path = save_state(tmp_path, state(1), keep=2) / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"every state in .* is damaged; restore one from a copy"):
        load_newest(tmp_path, lambda _: None)
