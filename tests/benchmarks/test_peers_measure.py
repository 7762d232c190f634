"""How peers are timed: in turn, each cache filled once, medians and ratios; and one real process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import processes, worker
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.measure import Measure, Plan, fill, measure, median_ratio, repeats_of
from benchmarks.peers.table import footprints, rows, table
from model.config import PRESETS


class FakeTalk:
    def __init__(self):
        self.asked = []

    def ask(self, **request):
        self.asked.append(request)
        if request["do"] == "save":
            Path(request["path"]).write_text("cache")
        return {}


class FakeLane:
    """A lane of so many tokens a second that writes down what it was asked."""

    def __init__(self, peer, threads, rate, order, talk=None):
        self.peer, self.threads, self.rate, self.order, self.talk = peer, threads, rate, order, talk or FakeTalk()

    def write(self, tokens, position):
        self.order.append((self.peer.name, self.threads, "write", tokens, position))
        return tokens / self.rate

    def decode(self, tokens, position):
        self.order.append((self.peer.name, self.threads, "decode", tokens, position))
        return tokens / self.rate


def fake_peer(name, kind="pte", deepest=8448):
    return Peer(name=name, title=name, kind=kind, model="", deepest=deepest, longest=deepest)


PLAN = Plan(threads=(1,), depths=(2048, 100), prefill=(512,), tokens=16, repeats=2)


def test_peers_take_turns_within_each_repeat_and_each_repeat_begins_with_another(tmp_path):
    order = []
    lanes = [FakeLane(fake_peer("a"), 1, 10, order), FakeLane(fake_peer("b"), 1, 20, order)]
    samples = measure(lanes, PLAN, tmp_path, lambda _: None)
    assert [name for name, _, what, tokens, _ in order if what == "write" and tokens == 512] == ["a", "b", "b", "a"]
    timed = [(name, at) for name, _, what, tokens, at in order if what == "decode" and tokens == 16]
    assert timed == [("a", 100), ("b", 100), ("b", 100), ("a", 100)] + [
        ("a", 2048),
        ("b", 2048),
        ("b", 2048),
        ("a", 2048),
    ]
    assert samples["b", Measure(what="decode", size=2048, threads=1)] == [20, 20]


def test_a_cache_is_filled_once_from_one_depth_to_the_next(tmp_path):
    order = []
    measure([FakeLane(fake_peer("a"), 1, 10, order)], PLAN, tmp_path, lambda _: None)
    fills = [(tokens, at) for _, _, what, tokens, at in order if what == "write" and tokens not in (512, 64)]
    assert fills == [(100, 0), (1948, 100)]


def test_a_peer_is_measured_no_deeper_than_it_says(tmp_path):
    order = []
    lanes = [FakeLane(fake_peer("a"), 1, 10, order), FakeLane(fake_peer("b", deepest=128), 1, 20, order)]
    samples = measure(lanes, PLAN, tmp_path, lambda _: None)
    assert {(measured.what, measured.size) for name, measured in samples if name == "b"} == {("decode", 100)}


def test_lanes_of_one_process_fill_its_cache_once_with_the_most_threads(tmp_path):
    order, talk = [], FakeTalk()
    peer = fake_peer("l", kind="llama.cpp")
    lanes = [FakeLane(peer, threads, 10, order, talk) for threads in (1, 2)]
    measure(lanes, Plan(threads=(1, 2), depths=(100,), prefill=(), tokens=8, repeats=1), tmp_path, lambda _: None)
    assert [threads for _, threads, what, tokens, _ in order if what == "write" and tokens == 100] == [2]


def test_a_filled_cache_of_llama_cpp_is_kept_for_the_next_run(tmp_path):
    order = []
    lane = FakeLane(fake_peer("l", kind="llama.cpp"), 2, 10, order)
    fill(lane, 0, 100, tmp_path)
    fill(lane, 0, 100, tmp_path)
    assert [request["do"] for request in lane.talk.asked] == ["save", "restore"]
    assert order == [("l", 2, "write", 100, 0)]
    assert [path.name for path in tmp_path.iterdir()] == ["cache-l-100.bin"]


def test_long_prompts_are_repeated_less_often_but_twice_at_least():
    assert [repeats_of(length, 5) for length in (128, 512, 1024, 2048, 8192)] == [5, 5, 2, 2, 2]
    assert [repeats_of(2048, repeats) for repeats in (1, 2, 12)] == [1, 2, 3]


def test_a_ratio_is_that_of_the_rounds_and_not_of_the_medians():
    assert median_ratio([2.0, 20.0, 8.0], [1.0, 10.0, 2.0]) == 2.0  # of the medians it would be 4
    with pytest.raises(ValueError, match="argument 2 is longer"):
        median_ratio([1.0], [1.0, 2.0])


def test_the_table_and_its_data_say_how_much_faster_ours_is():
    at = Measure(what="decode", size=100, threads=2)
    samples = {("ours", at): [40.0, 44.0], ("ours-python", at): [30.0, 33.0], ("llama-swa", at): [20.0, 22.0]}
    made = rows(samples)
    assert made[2]["ours_times_faster"] == 2.0
    assert made[2]["ours-python_times_faster"] == 1.5
    assert "ours_times_faster" not in made[1]
    peers = [fake_peer(name) for name in ("ours", "ours-python", "llama-swa", "export-f32")]
    text = table(samples, peers)
    assert "| tokens/s | decode at 100, 2 thr. |" in text
    assert "| ours-python | 31.5 |" in text
    assert "| llama-swa | 21.0 (2.00x) |" in text
    assert "| export-f32 | – |" in text
    assert "| llama-swa | 21.0 (1.50x) |" in table(samples, peers, own="ours-python")
    assert json.dumps(made)


def test_footprints_set_our_file_beside_each():
    memory = {"1": {"resident": 640, "anonymous": 20, "peak": 700}}
    ours = {"title": "us", "file_bytes": 600_000_000, "memory_mib": memory}
    text = footprints({"ours": ours, "x": {"title": "them", "file_bytes": 750_000_000, "memory_mib": memory}})
    assert "| us | 600.0 | 1.000 | 640 | 20 | 700 |" in text
    assert "| them | 750.0 | 0.800 | 640 | 20 | 700 |" in text


class FakeEngine:
    """A runtime that needs a second for a token."""

    def __init__(self):
        self.threads = self.rests = 0

    def set_threads(self, threads):
        self.threads = threads

    def rest(self):
        self.rests += 1

    def write(self, tokens, position):
        return float(len(tokens))

    def decode(self, token, position, count):
        return float(count)


def test_a_worker_answers_each_request():
    engine = FakeEngine()
    assert worker.answer(engine, {"do": "threads", "threads": 2}) == {}
    assert engine.threads == 2
    assert worker.answer(engine, {"do": "write", "position": 5, "tokens": 7}) == {"seconds": 7.0}
    assert worker.answer(engine, {"do": "decode", "position": 5, "tokens": 3}) == {"seconds": 3.0}
    assert engine.rests == 2  # once for each timing


def test_ids_depend_on_the_position_alone_and_stay_in_the_smallest_vocabulary():
    assert worker.ids(4, 10) == worker.ids(14, 0)[10:]
    assert all(0 < token < 256 for token in worker.ids(9000, 0))


@pytest.fixture
def lane(tiny_int4, tmp_path):
    """A tiny package of ours in a process of its own, with stock kernels and one thread."""
    peer = fake_peer("tiny")
    program = tiny_int4.package / "model.pte"
    described = processes.describe(peer, 1, tmp_path, program, PRESETS["nano"], 16)
    with (tmp_path / "log").open("w") as log:
        (made,) = processes.lanes_of(peer, [1], lambda threads: described, log)
        yield made
        made.talk.close()


def test_a_program_is_timed_in_a_process_of_its_own(lane):
    assert lane.talk.facts["kernels"] == "stock kernels"
    assert lane.talk.facts["chunk"] == 16
    assert min(lane.decode(4, 32), lane.write(32, 0)) > 0
    assert lane.talk.memory_mib()["resident"] > 50
    with pytest.raises(ValueError, match=r"tiny \(1 threads\): this process was loaded for 1 threads"):
        lane.talk.ask(do="threads", threads=2)
    with pytest.raises(ValueError, match="cache cannot be written"):
        lane.talk.ask(do="save", path="x")


def test_a_process_that_cannot_load_its_model_says_why(tmp_path):
    (tmp_path / "model.pte").write_text("no program")
    peer = fake_peer("broken")
    described = processes.describe(peer, 1, tmp_path, tmp_path / "model.pte", PRESETS["nano"], 16)
    with (tmp_path / "log").open("w") as log, pytest.raises(ValueError, match=r"broken .*cannot load it"):
        processes.lanes_of(peer, [1], lambda threads: described, log)


@pytest.mark.parametrize(("kernels", "runs_with"), [("stock", "stock kernels"), ("own", "own kernels")])
def test_a_program_runs_with_the_kernels_that_its_line_names_whatever_the_environment_says(
    tiny_int4, kernels, runs_with
):
    """Observed on what was loaded, in a process of its own, as each lane has one."""
    code = (
        "import sys; from pathlib import Path; from benchmarks.peers.pte_engine import PteEngine;"
        "from kernels import load;"
        f"engine = PteEngine(Path(sys.argv[1]), threads=1, kernels={kernels!r}, chunk=16);"
        "engine.write([1, 2, 3], 0); print(engine.facts()['kernels'], '|', load.in_use())"
    )
    other = {"stock": "own", "own": "stock"}[kernels]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_int4.package / "model.pte")],
        env=os.environ | {"POCKETLM_KERNELS": other},
        capture_output=True,
        text=True,
        check=True,
    )
    said, loaded = done.stdout.strip().splitlines()[-1].split(" | ")
    assert said == loaded
    assert said.startswith(runs_with)
