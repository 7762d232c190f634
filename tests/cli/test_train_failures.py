"""What goes wrong in `train`: the exit code, one clear line, the states that stay, and how the run goes on."""

import errno
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from model.byte_tokenizer import write_byte_tokenizer
from tests.train.small_run import RUN, hidden_files, result, write_run_file
from train.engine import Engine
from train.lock import folder_lock
from train.metrics import read_metrics


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    return write_run_file(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def stopped(run_file) -> Path:
    """A run that was stopped after step 8, with states of steps 4 and 8."""
    out = run_file.parent / "stopped"
    assert main(["train", str(run_file), str(out), "--max-steps", "8"]) == 0
    assert states(out) == [4, 8]
    return out


@pytest.fixture(scope="module")
def whole(run_file, stopped) -> dict[str, Any]:
    """What that run gives at its end when nothing goes wrong."""
    out = Path(shutil.copytree(stopped, run_file.parent / "whole"))
    assert main(["train", str(run_file), str(out), "--resume"]) == 0
    return result(out)


@pytest.fixture
def out(stopped, tmp_path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "out"))


@pytest.fixture
def fails(capfd) -> Callable[..., str]:
    """Runs a command line that must fail cleanly; gives all that it says, the error at the end."""

    def run(*argv: object, code: int = 1) -> str:
        capfd.readouterr()
        assert main(["train", *map(str, argv)]) == code
        stdout, err = capfd.readouterr()
        assert stdout == ""
        assert err.count("pocketlm: error: ") == 1 and "Traceback" not in err and "unexpected" not in err
        assert err.splitlines()[-1].startswith("pocketlm: error: ")
        return err

    return run


def states(out: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (out / "checkpoints").iterdir())


def resumes(run_file: Path, out: Path, whole: dict[str, Any]) -> None:
    assert main(["train", str(run_file), str(out), "--resume"]) == 0
    assert result(out) == whole
    assert hidden_files(out) == []


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


# Text and vocabulary


def test_text_shorter_than_a_window_is_refused_with_both_numbers(tmp_path, fails):
    run_file = write_run_file(tmp_path, documents=1)
    (tmp_path / "text" / "00.txt").write_text("Five little words of text.")
    said = fails(run_file, tmp_path / "out", "--set", "data.held_out_every=0")
    assert "the training text has" in said and "a window needs 65" in said and "give more text" in said
    assert not (tmp_path / "out" / "run.json").exists()
    shutil.rmtree(tmp_path / "out" / "tokens")
    (tmp_path / "text" / "00.txt").write_text("Five little words of text. " * 40)  # then it works in the same folder
    assert main(["train", str(run_file), str(tmp_path / "out"), "--set", "data.held_out_every=0", "--max-steps=1"]) == 0


def test_a_tokenizer_of_another_vocabulary_is_refused(tmp_path, fails):
    run_file = write_run_file(tmp_path)
    (tmp_path / "tokenizer").mkdir()
    write_byte_tokenizer(tmp_path / "tokenizer", 320)
    said = fails(run_file, tmp_path / "out", "--set", "tokenizer.folder=tokenizer")
    assert "vocabulary" in said and "320" in said and "300" in said


def test_tokens_of_another_vocabulary_are_refused(tmp_path, fails):
    run_file = write_run_file(tmp_path)
    shared = ("--set", "data.tokens=tokens")
    assert main(["train", str(run_file), str(tmp_path / "a"), *shared, "--max-steps", "1"]) == 0
    said = fails(run_file, tmp_path / "b", *shared, "--set", "model.config.vocab_size=280")
    assert "another vocabulary" in said and "300" in said and "280" in said


def test_text_that_has_changed_since_the_run_began_is_noticed(tmp_path, fails):
    run_file = write_run_file(tmp_path)
    assert main(["train", str(run_file), str(tmp_path / "out"), "--max-steps", "1"]) == 0
    shutil.rmtree(tmp_path / "out" / "tokens")
    (tmp_path / "text" / "00.txt").write_text("Another story.")
    assert "the text of this run has changed" in fails(run_file, tmp_path / "out", "--resume")


# A loss that is not finite


def test_a_run_that_diverges_stops_names_the_step_and_keeps_the_last_good_state(run_file, tmp_path, fails):
    out = tmp_path / "out"
    huge = ("--set", "optimizer.lr=1e30", "--set", "optimizer.warmup_steps=0", "--set", "train.save_every=1")
    said = fails(run_file, out, *huge)
    step = states(out)[-1] + 1
    assert f"not finite at step {step}; the last good state is {out}/checkpoints/step-{step - 1:08d}" in said
    assert "lower optimizer.lr" in said
    assert [record["step"] for record in read_metrics(out / "metrics.jsonl") if "loss" in record] == [*range(1, step)]
    assert not (out / "checkpoint").exists() and hidden_files(out) == []


def test_weights_that_are_not_finite_are_never_saved(run_file, tmp_path, fails):
    out = tmp_path / "out"
    options = ("--set", "optimizer.lr=1e38", "--set", "optimizer.warmup_steps=0", "--set", "train.save_every=1")
    said = fails(run_file, out, *options, "--set", "optimizer.weight_decay=1e10")
    assert "a weight is not finite at step 1; no state was saved yet" in said
    assert not (out / "checkpoints").exists()


# A disk that fills up


def test_a_full_disk_during_a_state_keeps_the_older_ones_and_the_run_goes_on(run_file, out, whole, fails, monkeypatch):
    def no_space(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("train.state.write_safetensors", no_space)
    said = fails(run_file, out, "--resume", code=4)
    assert f"the last good state is {out}/checkpoints/step-00000008; go on with --resume" in said
    assert f"no space left on the disk while writing {out}/checkpoints/step-00000012" in said
    assert states(out) == [4, 8] and hidden_files(out) == []
    monkeypatch.undo()
    resumes(run_file, out, whole)


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system lets no file of this process grow beyond 100 kB: a write stops in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_state_that_the_system_cuts_off_keeps_the_older_ones(run_file, out, fails, small_files):
    said = fails(run_file, out, "--resume", code=4)
    assert f"cannot write {out}/checkpoints/step-00000012" in said and "step-00000008; go on with --resume" in said
    assert states(out) == [4, 8] and hidden_files(out) == []


def test_a_full_disk_during_the_trained_checkpoint_keeps_the_last_state(run_file, out, whole, fails, monkeypatch):
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("model.safetensors_file.write_safetensors", no_space)
    said = fails(run_file, out, "--resume", code=4)
    assert f"{out}/checkpoints/step-00000012; go on with --resume" in said and f"writing {out}/checkpoint;" in said
    assert states(out) == [8, 12] and not (out / "checkpoint").exists()
    monkeypatch.undo()
    resumes(run_file, out, whole)


# A damaged state


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def other_step(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 8', '"step": 9'))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("state.safetensors", flip),
    ("state.safetensors", cut),
    ("state.safetensors", Path.unlink),
    ("state.json", cut),
    ("state.json", Path.unlink),
    ("state.json", other_step),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_newest_state_is_passed_over_and_the_one_before_taken(run_file, out, whole, capfd, name, damage):
    damage(out / "checkpoints" / "step-00000008" / name)
    resumes(run_file, out, whole)
    err = capfd.readouterr().err
    assert "the state of step 8 is damaged and is passed over: " in err
    assert "step 5/12" in err and "step 4/12" not in err


def test_two_damaged_states_do_not_displace_the_good_ones_that_follow(run_file, out, whole, capfd):
    """Kept by their number alone, states 97 and 98 would outlive every state of the resumed run."""
    for step in (97, 98):
        shutil.copytree(out / "checkpoints" / "step-00000008", out / "checkpoints" / f"step-000000{step}")
    resumes(run_file, out, whole)
    err = capfd.readouterr().err
    assert "the state of step 98 is damaged" in err and "the state of step 97 is damaged" in err
    assert states(out) == [8, 12]


def test_states_that_are_all_damaged_are_an_error_and_stay(run_file, out, fails):
    for step in (4, 8):
        flip(out / "checkpoints" / f"step-{step:08d}" / "state.safetensors")
    before = files(out)
    said = fails(run_file, out, "--resume")
    assert f"every state in {out}/checkpoints is damaged" in said and "start from step 0" in said
    assert files(out) == before


def test_a_run_without_any_state_begins_again_and_ends_the_same(run_file, out, whole, capfd):
    shutil.rmtree(out / "checkpoints")
    resumes(run_file, out, whole)
    assert "no state was saved yet: beginning at step 1" in capfd.readouterr().err


def test_metrics_whose_last_line_was_cut_go_on(run_file, out, whole):
    path = out / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 9, "lo')
    resumes(run_file, out, whole)


# The output folder


def test_a_second_process_on_a_folder_is_told_who_holds_it(run_file, out, fails):
    with folder_lock(out):
        said = fails(run_file, out, "--resume")
    assert f"{out} is in use by process {os.getpid()} of " in said and "name another output" in said


def test_a_folder_of_something_else_is_refused_and_gets_nothing(run_file, tmp_path, fails):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    for more in ([], ["--resume"]):
        said = fails(run_file, tmp_path / "thesis", *more)
        assert "thesis holds chapter.txt, which is no part of a training run; name another output" in said
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_an_output_that_is_a_file_is_refused(run_file, fails):
    assert "small.toml is in the way of the output folder" in fails(run_file, run_file)


def test_a_run_is_not_begun_again_in_its_folder_without_resume(run_file, out, fails):
    before = files(out)
    assert f"{out} holds a run, saved as step-00000008; pass --resume" in fails(run_file, out)
    assert files(out) == before


def test_resume_where_nothing_is_begins(run_file, tmp_path, capfd):
    assert main(["train", str(run_file), str(tmp_path / "out"), "--resume", "--max-steps", "1"]) == 0
    assert f"there is no run in {tmp_path / 'out'} yet: beginning at step 1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.lr=0.02", "optimizer.lr = 0.01 and the run file now says 0.02"),
        ("train.steps=20", "train.steps = 12 and the run file now says 20"),
        ("model.config.ffn_dim=96", "model.config.ffn_dim = 64 and the run file now says 96"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(run_file, out, fails, change, words):
    before = files(out)
    said = fails(run_file, out, "--resume", "--set", change)
    assert words in said and "start another run in another output folder" in said
    assert files(out) == before


def test_a_run_may_look_and_save_more_often_than_it_began(run_file, out, whole):
    more = ("--set", "train.save_every=2", "--set", "train.evaluate_every=1")
    assert main(["train", str(run_file), str(out), "--resume", *more]) == 0
    assert result(out)["checkpoint"] == whole["checkpoint"]


def test_other_threads_are_allowed_and_said(run_file, out, capfd):
    assert main(["train", str(run_file), str(out), "--resume", "--set", "train.threads=2", "--max-steps", "9"]) == 0
    err = capfd.readouterr().err
    assert "train.threads was 1 and is 2 now: the last bits may differ" in err


def test_a_run_json_of_something_else_or_damaged_is_refused(run_file, out, fails):
    path = out / "run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps(run | {"version": 2}))
    assert "run.json is no training run of version 1" in fails(run_file, out, "--resume")
    path.write_text(path.read_text()[:99])
    assert "run.json is not valid JSON" in fails(run_file, out, "--resume")


# The run file


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "train.step=5"], "unknown key 'train.step'; did you mean 'train.steps'?"),
        (["--set", "train.steps=many"], "train.steps is 'many'; it must be an integer"),
        (["--set", "train.steps"], "--set 'train.steps' is not of the form table.key=value"),
        (["--set", "train.device=tpu"], "train.device is 'tpu'; known: cpu, cuda, auto"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(run_file, tmp_path, fails, options, words):
    for more in ([], ["--dry-run"]):
        assert words in fails(run_file, tmp_path / "out", *options, *more)
    assert not (tmp_path / "out").exists()


def test_a_run_file_that_is_none_is_refused(tmp_path, fails):
    assert "none.toml is missing; name a run file (TOML)" in fails(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text(RUN + "=\n")
    assert "bad.toml is no valid TOML" in fails(tmp_path / "bad.toml")


def test_steps_that_are_none_are_a_usage_error(run_file, fails):
    assert "--max-steps" in fails(run_file, "--max-steps", 0, code=2)


# Ctrl-C


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in the middle of a step: after its weights have changed, before its line is written."""
    original = Engine.step

    def step(self: Engine, batch: Any, step: int) -> dict[str, float]:
        figures = original(self, batch, step)
        if step == number:
            os.kill(os.getpid(), signal.SIGINT)
        return figures

    monkeypatch.setattr(Engine, "step", step)


def test_ctrl_c_says_where_it_goes_on_and_the_run_ends_the_same(run_file, out, whole, fails, monkeypatch):
    interrupt_at(monkeypatch, 10)
    said = fails(run_file, out, "--resume", code=130)
    assert f"the last good state is {out}/checkpoints/step-00000008; go on with --resume\n" in said
    assert said.endswith("pocketlm: error: interrupted; nothing half-written was kept\n")
    assert "step 9/12" in said and "step 10/12" not in said
    monkeypatch.undo()
    resumes(run_file, out, whole)


def test_ctrl_c_before_the_first_state_leaves_a_run_that_begins_again(run_file, tmp_path, whole, fails, monkeypatch):
    interrupt_at(monkeypatch, 2)
    assert "no state was saved yet; go on with --resume" in fails(run_file, tmp_path / "out", code=130)
    monkeypatch.undo()
    resumes(run_file, tmp_path / "out", whole)
