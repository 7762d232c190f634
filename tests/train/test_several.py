"""Two processes compute what one computes: loss, gradients, norms and weights, float and under fake quantization."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from model.checkpoint import random_checkpoint
from tests.train.several import Server
from tests.train.small_run import RUN as FLOAT_RUN
from tests.train.test_qat import CONFIG
from tests.train.test_qat import RUN as QAT_RUN
from train.engine import Engine, deterministic
from train.run_file import read_run
from train.sharded_engine import ShardedEngine
from train.sharded_state import save_sharded
from train.state import State, find_newest, load_newest, save_state
from train.team import Team

CPU = torch.device("cpu")
STEPS = 5
CLOSE = 1e-5  # of loss and gradient: the bound (docs/numerics.md)
WEIGHTS = 1e-4  # AdamW divides by the root of the second moment: tiny gradients make large differences
ROWS = ["train.micro_batch_tokens=128"]  # four windows of 32 tokens at once


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Run files of both objectives and the checkpoint that QAT begins with."""
    folder = tmp_path_factory.mktemp("several")
    random_checkpoint(CONFIG, folder / "float", seed=1)
    one_window = [line for line in FLOAT_RUN.splitlines() if not line.startswith("final_")]
    (folder / "float.toml").write_text("\n".join(one_window))
    (folder / "qat.toml").write_text(QAT_RUN)
    return folder


def batch(seed: int, rows: int, window: int = 32) -> torch.Tensor:
    return torch.randint(300, (rows, window + 1), generator=torch.Generator().manual_seed(seed))


def differences(team: Team, run_file: str, overrides: list[str], rows: int) -> dict[str, float]:
    """The largest differences of this team's steps from one process's; called in each process."""
    settings, base = read_run(Path(run_file), overrides), Path(run_file).parent
    found = dict.fromkeys(("loss", "grad_norm", "gradient", "held_out", "weight", "moved"), 0.0)

    def note(name: str, a: torch.Tensor | float, b: torch.Tensor | float) -> None:
        found[name] = max(found[name], float((torch.as_tensor(a) - torch.as_tensor(b)).detach().abs().max()))

    with deterministic(CPU, 1):
        one, many = Engine(settings, CPU, base=base), ShardedEngine(settings, CPU, base=base, team=team)
        first = {name: p.detach().clone() for name, p in one.parameters.items()}
        assert one.parameters.keys() == many.parameters.keys()
        for step in range(1, STEPS + 1):
            a, b = one.step(batch(step, rows), step), many.step(batch(step, rows), step)
            assert a.keys() == b.keys() and a["lr"] == b["lr"]
            note("loss", a["loss"], b["loss"])
            note("grad_norm", a["grad_norm"], b["grad_norm"])
            for name, p in one.parameters.items():
                note("gradient", p.grad / a["grad_norm"], many.parameters[name].grad.full_tensor() / a["grad_norm"])
        held_out = [batch(100, 4), batch(101, 1)]  # of the last one, one process has nothing
        (a, tokens), (b, same_tokens) = one.evaluate(held_out), many.evaluate(held_out)
        assert a.keys() == b.keys() and tokens == same_tokens
        for name in a:
            note("held_out", a[name], b[name])
        with many.whole_model() as model:
            for name, p in model.named_parameters():
                note("weight", p, one.parameters[name])
                note("moved", p, first[name])
        assert many.is_finite()
    return found


@pytest.mark.parametrize(
    ("run", "rows", "overrides"),
    [
        ("float", 4, []),
        ("float", 8, ["train.batch_tokens=256"]),  # two micro batches
        ("float", 3, ["train.batch_tokens=96", "train.micro_batch_tokens=96"]),  # two windows and one
        ("float", 4, ["model.config.tied=false", "train.activation_checkpointing=true"]),
        pytest.param("qat", 4, [], marks=pytest.mark.slow),
        ("qat", 4, ["qat.learn_ranges=true", "train.activation_checkpointing=true"]),
        ("qat", 4, ["qat.recipe=4w-channel", "qat.learn_ranges=true", "distill.cross_entropy=0.3"]),
        pytest.param("qat", 4, ["distill.chunk=24", "distill.temperature=2.0"], marks=pytest.mark.slow),
    ],
)
def test_two_processes_take_the_steps_of_one(server, place, run, rows, overrides):
    ends = server.call("tests.train.test_several:differences", str(place / f"{run}.toml"), [*ROWS, *overrides], rows)
    assert [end.code for end in ends] == [0, 0], ends
    found = ends[0].value
    assert found == ends[1].value
    print({name: f"{value:.1e}" for name, value in found.items()})
    assert found.pop("moved") > 1e-3 and found.pop("weight") < WEIGHTS
    assert all(value < CLOSE for value in found.values()), found


# States


def wholes(engine: Engine) -> dict[str, torch.Tensor]:
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()
        for name, tensor in engine.tensors().items()
    }


def make(team: Team, run_file: str, overrides: list[str]) -> Engine:
    settings, base = read_run(Path(run_file), overrides), Path(run_file).parent
    if team.size == 1:
        return Engine(settings, CPU, base=base)
    return ShardedEngine(settings, CPU, base=base, team=team)


def save(team: Team, run_file: str, overrides: list[str], folder: str) -> None:
    """Two steps and their state, and beside it what it must hold; called in each process."""
    with deterministic(CPU, 1):
        engine = make(team, run_file, overrides)
        for step in (1, 2):
            engine.step(batch(step, 4), step)
        if team.size == 1:
            save_state(Path(folder), State(step=2, tensors=engine.tensors(), facts={}), keep=2)
        else:
            save_sharded(Path(folder), 2, engine.tensors(), {}, keep=2, team=team)
        expected = wholes(engine)
    if team.is_first:
        save_file(expected, Path(folder) / "expected.safetensors")


def take_up(team: Team, run_file: str, overrides: list[str], folder: str) -> dict[str, float]:
    """Compares a state that was taken up, to the bit, and makes the next step; called in each process."""
    expected = load_file(Path(folder) / "expected.safetensors")
    with deterministic(CPU, 1):
        engine = make(team, run_file, overrides)
        engine.restore_from(Path(folder) / "step-00000002")
        found = wholes(engine)
        assert found.keys() == expected.keys()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []
        return engine.step(batch(3, 4), 3)


@pytest.fixture(scope="module")
def saved(server, place):
    """Folders with a state of so many processes, under learned ranges, each made once."""
    folders: dict[int, Path] = {}

    def folder_of(size: int) -> Path:
        if size not in folders:
            ends = server.call("tests.train.test_several:save", *arguments(place, place / f"states-{size}"), size=size)
            assert [end.code for end in ends] == [0] * size, ends
            folders[size] = place / f"states-{size}"
        return folders[size]

    return folder_of


def arguments(place: Path, folder: Path) -> tuple[str, list[str], str]:
    return str(place / "qat.toml"), [*ROWS, "qat.learn_ranges=true"], str(folder)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3), pytest.param(3, 2, marks=pytest.mark.slow)])
def test_any_number_of_processes_takes_up_the_state_of_any_other(server, place, saved, before, after):
    ends = server.call("tests.train.test_several:take_up", *arguments(place, saved(before)), size=after)
    assert [end.code for end in ends] == [0] * after, ends
    assert all(end.value == ends[0].value for end in ends)


def test_one_process_reads_a_state_of_several_without_a_group(saved):
    found = load_newest(saved(2), pytest.fail)
    assert found is not None and found.step == 2
    expected = load_file(saved(2) / "expected.safetensors")
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(found.tensors[name], expected[name]) for name in expected)


@pytest.mark.parametrize("spoil", ["cut", "flip", "remove", "add"])
def test_a_damaged_shard_makes_the_state_one_that_is_passed_over(saved, tmp_path, spoil):
    shutil.copytree(saved(2), tmp_path / "states")
    first, second = sorted((tmp_path / "states" / "step-00000002").glob("shard-*.safetensors"))
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 4
    if spoil == "cut":
        second.write_bytes(data[:-1])
    elif spoil == "flip":
        second.write_bytes(data)
    elif spoil == "remove":
        second.unlink()
    else:
        shutil.copy(first, first.with_name("shard-00003-model-00001-of-00001.safetensors"))
    notes: list[str] = []
    with pytest.raises(ValueError, match=r"every state in .* is damaged"):
        find_newest(tmp_path / "states", notes.append)
    assert len(notes) == 1 and "the state of step 2 is damaged and is passed over: " in notes[0]


def test_a_state_of_another_model_is_refused(server, place, saved):
    _, overrides, folder = arguments(place, saved(2))
    other = [*overrides, "model.checkpoint=other"]
    random_checkpoint(dataclasses.replace(CONFIG, ffn_dim=96), place / "other", seed=1)
    ends = server.call("tests.train.test_several:take_up", str(place / "qat.toml"), other, folder)
    assert [end.code for end in ends] == [1, 1]
    assert "the state on disk is of another model" in ends[0].said + ends[1].said


def test_a_micro_batch_with_fewer_windows_than_processes_is_refused(server, place, tmp_path):
    short = str(place / "float.toml"), ["train.micro_batch_tokens=64"], str(tmp_path)
    ends = server.call("tests.train.test_several:save", *short, size=3)
    assert [end.code for end in ends] == [1, 1, 1]
    (said,) = [end.said for end in ends if "ValueError" in end.said]
    assert "a micro batch of 64 tokens has 2 windows for 3 processes; raise train.micro_batch_tokens" in said
