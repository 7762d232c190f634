"""The committed model: whole, of its preset, what its log says, and no larger than the repository can bear."""

import hashlib
import json
import re
import sysconfig
import tokenize
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_model, read_info
from model.config import PRESETS
from model.tokenizer import load_tokenizer
from model.tokenizer_parity import check_cpp_agreement
from train.metrics import read_metrics
from train.run_file import check_resumable, read_run

NANO = Path(__file__).resolve().parent.parent.parent / "assets" / "nano"
MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def documents() -> list[dict]:
    return [json.loads(line) for line in (NANO / "documents.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def log() -> list[dict]:
    return read_metrics(NANO / "metrics.jsonl")


@pytest.fixture(scope="module")
def settings(root):
    return read_run(root / "train" / "runs" / "nano.toml")


@pytest.fixture(scope="module")
def texts(documents) -> list[str]:
    """The held-out modules of this machine's standard library, which must be those of the run."""
    found = []
    for entry in documents:
        if entry["split"] == "held_out":
            path = Path(sysconfig.get_path("stdlib")) / entry["name"]
            if not path.is_file():
                pytest.skip(f"this Python's standard library has no {entry['name']}: it is another version")
            with tokenize.open(path) as file:
                found.append(file.read())
            if hashlib.sha256(found[-1].encode()).hexdigest() != entry["sha256"]:
                pytest.skip(f"this Python's {entry['name']} is not the one of the run: it is another version")
    return found


def test_the_folder_has_at_most_twelve_megabytes():
    assert sum(path.stat().st_size for path in NANO.rglob("*") if path.is_file()) <= MOST_BYTES


def test_the_checkpoint_is_of_the_preset_nano_and_names_its_licence(root):
    info = read_info(NANO)
    assert (info.preset, info.family, info.licences) == ("nano", "pocketlm", ("LICENSE",))
    assert info.config == PRESETS["nano"] and info.quantization is None
    assert (NANO / "LICENSE").read_bytes() == (root / "LICENSE").read_bytes()
    assert load_model(NANO).config == PRESETS["nano"]


def test_python_and_the_phones_read_its_tokenizer_alike():
    spec = read_info(NANO).tokenizer
    assert spec.vocab_size == PRESETS["nano"].vocab_size
    assert check_cpp_agreement(NANO, spec) == []
    text = 'class Röhre(Base):\n    """Doc."""\n\n\tdef f(self, *, x=1):\n        return [x, "\U0001f600"]\n'
    tokenizer = load_tokenizer(NANO, spec)
    assert b"".join(map(tokenizer.piece, tokenizer.encode(text, first=False))).decode() == text


def test_every_twentieth_module_is_held_out_and_all_are_different(documents, settings):
    assert settings.data.held_out_every == 20
    for number, entry in enumerate(documents, 1):
        assert entry["split"] == ("held_out" if number % 20 == 0 else "train"), entry["name"]
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]) and entry["bytes"] > 0 and entry["tokens"] > 2
        assert not any(fnmatchcase(entry["name"], pattern) for pattern in settings.data.exclude), entry["name"]
    names = [entry["name"] for entry in documents]
    assert names == sorted(names)
    assert len(set(names)) == len({entry["sha256"] for entry in documents}) == len(documents) > 500


def test_the_log_is_of_the_committed_run_file_and_of_a_whole_run(log, settings):
    run = json.loads((NANO / "run.json").read_text())
    assert check_resumable(run["settings"], json.loads(json.dumps(settings.to_json()))) == []
    start, done = log[0], log[-1]
    assert (start["event"], start["parameters"]) == ("start", PRESETS["nano"].num_parameters)
    assert start["tokens_sha256"] == run["tokens_sha256"] and re.match(r"3\.\d+\.\d+", start["python"])
    assert (done["event"], done["after_step"]) == ("done", settings.train.steps)
    steps = [record["step"] for record in log if "loss" in record]
    assert steps == list(range(1, settings.train.steps + 1))


def test_the_log_and_the_list_of_modules_are_of_the_same_text(log, documents):
    of = {split: [entry for entry in documents if entry["split"] == split] for split in ("train", "held_out")}
    assert log[0]["train_bytes"] == sum(entry["bytes"] for entry in of["train"])
    assert log[0]["train_tokens"] == sum(entry["tokens"] for entry in of["train"])
    assert log[-1]["held_out_documents"] == len(of["held_out"])
    assert log[-1]["held_out_bytes"] == sum(entry["bytes"] for entry in of["held_out"])
    assert log[-1]["held_out_tokens"] == sum(entry["tokens"] - 1 for entry in of["held_out"])


def test_it_beats_xz_on_modules_that_it_has_never_seen(log):
    done = log[-1]
    assert done["held_out_bits_per_byte"] < 0.9 * done["xz_each_bits_per_byte"]  # clearly: by a tenth
    assert done["xz_together_bits_per_byte"] < done["xz_each_bits_per_byte"]


def test_the_figures_of_its_readme_are_those_of_the_log(log):
    rows = dict(re.findall(r"^\| \**(.+?)\** \| \**(.+?)\** \|$", (NANO / "README.md").read_text(), re.MULTILINE))
    done = log[-1]
    assert rows["parameters"] == f"{PRESETS['nano'].num_parameters:,}"
    assert rows["bits per held-out byte"] == f"{done['held_out_bits_per_byte']:.3f}"
    assert rows["`xz -9e`, module by module"] == f"{done['xz_each_bits_per_byte']:.3f}"
    assert rows["`xz -9e`, all in one"] == f"{done['xz_together_bits_per_byte']:.3f}"
    assert rows["text held out"] == f"{done['held_out_documents']} modules, {done['held_out_bytes']:,} bytes"
    assert rows["Python"] == log[0]["python"]
    assert rows["steps"].startswith(f"{done['after_step']:,} ")


def test_it_expects_python_and_not_noise():
    """A model that has learnt nothing needs log2(4096) = 12 bits a token."""
    text = "def main():\n    for name in names:\n        print(name)\n\n\nif __name__ == '__main__':\n    main()\n"
    ids = load_tokenizer(NANO, read_info(NANO).tokenizer).encode(text, first=True)
    model = load_model(NANO)
    with torch.inference_mode():
        logits = model.head(model.hidden(torch.tensor([ids[:-1]])))[0].float()
    bits = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:])) / torch.log(torch.tensor(2.0))
    print(f"\n{bits:.2f} bits a token")
    assert bits < 6


@pytest.mark.slow
def test_the_held_out_figure_comes_out_again(log, texts, settings):
    from train.held_out import score_documents, xz_bits_per_byte

    each, together = xz_bits_per_byte([text.encode() for text in texts])
    assert each == pytest.approx(log[-1]["xz_each_bits_per_byte"], rel=1e-3)  # liblzma's release may differ
    assert together == pytest.approx(log[-1]["xz_together_bits_per_byte"], rel=1e-3)
    spec = read_info(NANO).tokenizer
    tokenizer = load_tokenizer(NANO, spec)
    score = score_documents(
        load_model(NANO),
        [torch.tensor([*tokenizer.encode(text, first=True), spec.stop_ids[0]]) for text in texts],
        context=max(settings.train.windows),
        num_bytes=sum(len(text.encode()) for text in texts),
        device=torch.device("cpu"),
        progress=lambda _: None,
    )
    print(f"\n{score.bits_per_byte:.6f} bits per held-out byte, the log says {log[-1]['held_out_bits_per_byte']:.6f}")
    assert score.tokens == log[-1]["held_out_tokens"]
    assert score.bits_per_byte == pytest.approx(log[-1]["held_out_bits_per_byte"], rel=1e-4)
