"""A teacher's targets on disk: what comes back, who shares it, what is refused, and what a kill leaves."""

import json
import os
import subprocess
import sys

import pytest
import torch

import train.teacher_cache
from model.checkpoint import random_checkpoint
from model.config import ModelConfig
from tests.train.killed_fill import FACTS, SHARD_WINDOWS, WINDOW, WINDOWS, Teacher, V, batches, fill
from train.distillation import Head
from train.lock import folder_lock
from train.teacher_cache import TeacherCache
from train.teacher_facts import TeacherFacts, teacher_sha256
from train.teacher_targets import Summary, at_temperature, summarize


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(train.teacher_cache, "SHARD_POSITIONS", SHARD_WINDOWS * WINDOW)


@pytest.fixture
def filled(tmp_path):
    cache = TeacherCache.open(tmp_path / "cache", FACTS)
    assert fill(cache, Teacher()) == WINDOWS
    return cache


def shards(folder):
    return sorted(path.name for path in folder.glob("shard-*.npy"))


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("ids_MK", "log_probs_MK", "tail_M"))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_what_comes_back_is_what_the_teacher_said_rounded_to_float16(filled, temperature):
    again = TeacherCache.open(filled.folder, FACTS)
    assert len(again) == WINDOWS
    tokens = torch.cat(batches())[[7, 0, 3]]
    summary = summarize(Teacher()(tokens), top_k=5, temperatures=FACTS.temperatures, chunk=100)
    rounded = Summary(summary.ids_MK, summary.log_probs_MK.half().float(), summary.tails_MN)
    expected = at_temperature(rounded, temperature, FACTS.temperatures)
    found = again.targets(tokens, temperature=temperature)
    assert found.temperature == temperature and found.ids_MK.shape == (3 * WINDOW, 5)
    assert torch.equal(found.ids_MK, expected.ids_MK)
    assert torch.allclose(found.log_probs_MK, expected.log_probs_MK, atol=1e-6)
    assert torch.allclose(found.tail_M, expected.tail_M, atol=1e-5)


def test_windows_are_found_by_their_tokens_whatever_their_batch_or_order(filled):
    """Another run with the same text, seed and window: other batches, fewer steps, and nothing to compute."""
    teacher = Teacher()
    shuffled = torch.cat(batches())[torch.randperm(WINDOWS, generator=torch.Generator().manual_seed(2))]
    assert fill(TeacherCache.open(filled.folder, FACTS), teacher, list(shuffled.split(5))) == 0
    assert teacher.windows == 0
    assert same(filled.targets(shuffled[3:4]), filled.targets(shuffled[3:4].clone()))


def test_a_longer_run_adds_only_what_is_new_and_a_repeated_window_is_kept_once(filled):
    teacher, before = Teacher(), shards(filled.folder)
    new = torch.full((1, WINDOW), 3)
    assert fill(filled, teacher, [*batches(), new, new, torch.cat([new, new])]) == 1
    assert teacher.windows == 1
    assert len(TeacherCache.open(filled.folder, FACTS)) == WINDOWS + 1
    assert len(shards(filled.folder)) == len(before) + 1


def test_windows_of_two_lengths_share_a_folder(filled):
    longer = torch.randint(V, (2, 2 * WINDOW), generator=torch.Generator().manual_seed(5))
    fill(filled, Teacher(), [longer, batches()[0]])
    again = TeacherCache.open(filled.folder, FACTS)
    assert again.targets(longer).tail_M.shape == (4 * WINDOW,)
    assert same(again.targets(batches()[0]), filled.targets(batches()[0]))


def test_the_size_on_disk_is_what_the_facts_say(filled):
    found = sum((filled.folder / name).stat().st_size for name in shards(filled.folder))
    records = WINDOWS * (WINDOW * filled.facts.position_bytes + 16)
    assert records < found < records + 1024 * len(shards(filled.folder))  # a header each


def test_progress_says_how_much_of_the_run_is_there(tmp_path):
    lines = []
    cache = TeacherCache.open(tmp_path / "cache", FACTS)
    options = {"total": WINDOWS * WINDOW, "positions": 1, "chunk": 100}
    cache.fill(batches(), Teacher(), **options, progress=lines.append)
    assert len(lines) == 4 and "shard-00000.npy, 24 positions" in lines[0]
    assert "24 of 80 positions" in lines[0] and "80 of 80 positions" in lines[-1]


def test_a_window_that_is_not_there_is_an_error_and_not_another_one(filled):
    unknown = batches()[0].clone()
    unknown[0, -1] = (unknown[0, -1] + 1) % V
    with pytest.raises(ValueError, match=r"lacks 1 of 2 windows of this batch; fill it"):
        filled.targets(unknown)


@pytest.mark.parametrize("place", ["ids", "log_probs", "tails", "key", "header"])
def test_a_flipped_bit_is_refused_by_the_shards_name(filled, place):
    path = filled.folder / "shard-00001.npy"
    data = bytearray(path.read_bytes())
    kind = filled.facts.record_type(WINDOW)
    at = 20 if place == "header" else len(data) - kind.itemsize + kind.fields[place][1]
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"shard-00001.npy is not as it was written; remove that file"):
        TeacherCache.open(filled.folder, FACTS)


def test_a_removed_shard_is_made_again_and_nothing_else(filled):
    expected = filled.targets(torch.cat(batches()))
    (filled.folder / "shard-00001.npy").unlink()
    cache, teacher = TeacherCache.open(filled.folder, FACTS), Teacher()
    assert len(cache) == WINDOWS - SHARD_WINDOWS
    assert fill(cache, teacher) == teacher.windows == SHARD_WINDOWS
    assert shards(filled.folder) == [f"shard-0000{i}.npy" for i in range(4)]
    assert same(TeacherCache.open(filled.folder, FACTS).targets(torch.cat(batches())), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "b"}, "the targets of another teacher"),
        ({"top_k": 6}, "another top_k .5; this run has 6."),
        ({"vocab_size": V + 1}, "another vocabulary"),
        ({"precision": "bfloat16"}, "another precision"),
    ],
)
def test_targets_of_something_else_are_refused(filled, change, message):
    facts = TeacherFacts(**{"sha256": FACTS.sha256, "vocab_size": V, "top_k": 5} | change)
    with pytest.raises(ValueError, match=message + ".*distill.cache"):
        TeacherCache.open(filled.folder, facts)


def test_a_temperature_that_was_not_kept_is_refused_and_a_new_cache_keeps_it(filled, tmp_path):
    with pytest.raises(ValueError, match=r"temperatures 1, 1.5, 2, 3, 4 and not for 1.7.*choose one of these"):
        TeacherCache.open(filled.folder, FACTS, temperature=1.7)
    with pytest.raises(ValueError, match=r"not for 1.7"):
        filled.targets(batches()[0], temperature=1.7)
    cache = TeacherCache.open(tmp_path / "new", FACTS, temperature=1.7)
    fill(cache, Teacher())
    again = TeacherCache.open(tmp_path / "new", FACTS, temperature=4.0)
    assert again.targets(batches()[0], temperature=1.7).temperature == 1.7


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes.txt and no index.json"):
        TeacherCache.open(tmp_path, FACTS)
    with pytest.raises(ValueError, match="is a file"):
        TeacherCache.open(tmp_path / "notes.txt", FACTS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.json").write_text(json.dumps({"format": "pocketlm-tokens", "version": 1}))
    with pytest.raises(ValueError, match="does not describe a teacher's targets"):
        TeacherCache.open(tmp_path / "other", FACTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "other"]


def test_another_version_is_named(filled):
    path = filled.folder / "index.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(ValueError, match="targets of version 9, this pocketlm reads 1"):
        TeacherCache.open(filled.folder, FACTS)


def test_an_index_that_says_other_shapes_than_its_shard_is_refused(filled):
    path = filled.folder / "index.json"
    index = json.loads(path.read_text())
    index["shards"][0]["windows"] += 1
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"shard-00000.npy does not hold what index.json says"):
        TeacherCache.open(filled.folder, FACTS)


def test_one_process_fills_at_a_time_and_a_full_cache_needs_no_lock(filled):
    with folder_lock(filled.folder):
        assert fill(filled, Teacher()) == 0
        with pytest.raises(ValueError, match="is in use by process"):
            fill(filled, Teacher(), [torch.zeros(1, WINDOW, dtype=torch.int64)])


def test_what_another_process_wrote_meanwhile_is_taken_up(tmp_path):
    mine, other = (TeacherCache.open(tmp_path / "cache", FACTS) for _ in range(2))
    fill(other, Teacher())
    teacher = Teacher()
    assert fill(mine, teacher) == teacher.windows == 0
    assert same(mine.targets(batches()[2]), other.targets(batches()[2]))


def test_a_teacher_that_fails_leaves_the_shards_before_it(tmp_path):
    class Failing(Teacher):
        def __call__(self, tokens):
            if self.windows >= 5:
                raise KeyboardInterrupt
            return super().__call__(tokens)

    cache = TeacherCache.open(tmp_path / "cache", FACTS)
    with pytest.raises(KeyboardInterrupt):
        fill(cache, Failing())
    again, teacher = TeacherCache.open(tmp_path / "cache", FACTS), Teacher()
    assert len(again) == SHARD_WINDOWS
    assert fill(again, teacher) == teacher.windows == WINDOWS - SHARD_WINDOWS


def test_a_kill_before_any_operation_on_a_file_costs_one_shard_at_most(root, tmp_path):
    command = [sys.executable, "-m", "tests.train.killed_fill", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["code"] == 0
    assert len(answer["results"]) >= 15
    for result in answer["results"]:
        assert result["status"] == -9 and result["is_right"], result
        assert result["asked"] == WINDOWS - result["kept"], result
        assert result["left"] == [".lock", "index.json", *(f"shard-0000{i}.npy" for i in range(4))], result
    kept = [result["kept"] for result in answer["results"]]
    assert kept == sorted(kept) and set(kept) == {0, 3, 6, 9, 10}  # 10: killed while it let go of the lock


def test_a_teachers_hash_is_of_weights_and_configuration(tmp_path):
    config = ModelConfig(
        vocab_size=300,
        dim=16,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        ffn_dim=16,
        global_layers=(0,),
        sliding_window=8,
        max_context=64,
    )
    random_checkpoint(config, tmp_path / "a", seed=0)
    random_checkpoint(config, tmp_path / "b", seed=1)
    first = teacher_sha256(tmp_path / "a")
    assert first == teacher_sha256(tmp_path / "a") != teacher_sha256(tmp_path / "b")
    info = tmp_path / "a" / "checkpoint.json"
    info.write_text(info.read_text().replace('"max_context": 64', '"max_context": 65'))
    assert teacher_sha256(tmp_path / "a") != first
    (tmp_path / "a" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model.safetensors is missing"):
        teacher_sha256(tmp_path / "a")


@pytest.mark.parametrize("change", [{"top_k": 0}, {"top_k": V + 1}, {"temperatures": ()}, {"temperatures": (0.0,)}])
def test_facts_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="must be"):
        TeacherFacts(**{"sha256": "a", "vocab_size": V} | change)


def test_a_teachers_head_may_be_of_any_float_type(tmp_path):
    teacher = Teacher()

    def half(tokens):
        return Head(*(t.bfloat16() for t in teacher(tokens)))

    cache = TeacherCache.open(tmp_path / "cache", FACTS)
    fill(cache, half)
    found = cache.targets(batches()[0])
    assert found.log_probs_MK.dtype == torch.float32 and found.ids_MK.dtype == torch.int32
    total = found.log_probs_MK.exp().sum(1) + found.tail_M.exp()
    assert torch.allclose(total, torch.ones(2 * WINDOW), atol=1e-6)
