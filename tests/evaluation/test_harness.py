"""lm-evaluation-harness on local tasks: its figures against ours, and its three ways to ask a model."""

import itertools
import json
from pathlib import Path

import pytest

from evaluation.evaluate import evaluate_things
from tests.evaluation.tables import LetterTokenizer, TableScorer, random_table
from tests.evaluation.test_evaluate import floats

pytestmark = pytest.mark.slow  # the library takes ten seconds to import

TEXTS = {
    "The cat sat on the": ["mat", "a very long answer", "sun"],
    "def f(x):": ["return x", "cat"],
    "It rains, so the street is": ["wet", "dry"],
}
QUESTIONS = [  # each choice is the right one once, so that no accuracy is 0 or 1
    {"query": query, "choices": choices, "gold": gold}
    for query, choices in TEXTS.items()
    for gold in range(len(choices))
]
TASKS = {
    "ours_choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "query",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "ours_rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "query",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    "ours_writing": {
        "output_type": "generate_until",
        "doc_to_text": "query",
        "doc_to_target": "{{choices[0]}}",
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 5},
        "metric_list": [{"metric": "exact_match"}],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Task files over one file of questions; JSON is YAML."""
    made = tmp_path / "tasks"
    made.mkdir()
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    for name, task in TASKS.items():
        source = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(tmp_path / "cache")},
            "test_split": "test",
        }
        (made / f"{name}.yaml").write_text(json.dumps(source | task))
    return made


def test_its_accuracy_is_ours_and_its_bits_per_byte_are_ours(tiny_int4, folder, tmp_path):
    things = [floats(tiny_int4), tiny_int4.package]
    (tmp_path / "text.txt").write_text("".join(question["query"] + "\n" for question in QUESTIONS))
    found = evaluate_things(
        things, text=tmp_path / "text.txt", tasks=[tmp_path / "questions.jsonl"], lm_eval=list(TASKS),
        lm_eval_path=folder,
    )  # fmt: skip
    for thing, data in zip(found.things, found.to_json()["things"], strict=True):
        theirs = data["harness"]
        assert set(theirs) == set(TASKS)
        assert theirs["ours_choices"]["acc"] == thing.tasks[0].correct.mean()
        assert theirs["ours_choices"]["acc_norm"] == thing.tasks[0].correct_by_length.mean()
        assert theirs["ours_choices"]["acc_stderr"] > 0
        # Both are over all bytes: theirs sums nats over the texts' own bytes.
        assert theirs["ours_rolling"]["bits_per_byte"] == pytest.approx(data["bits_per_byte"]["value"], rel=1e-4)
        assert theirs["ours_writing"]["exact_match"] == 0.0
    assert any("lm-eval ours_choices: acc " in line for line in found.lines())


def test_a_limit_and_an_unknown_task(tiny_int4, folder):
    found = evaluate_things([floats(tiny_int4)], lm_eval=["ours_choices"], lm_eval_path=folder, limit_questions=1)
    assert found.things[0].harness["ours_choices"]["acc"] in (0.0, 1.0) and found.text is None
    with pytest.raises(ValueError, match="has no task 'ours_choice'; did you mean 'ours_choices'"):
        evaluate_things([floats(tiny_int4)], lm_eval=["ours_choice"], lm_eval_path=folder)
    with pytest.raises(ValueError, match="is no folder; give the one that holds the task files"):
        evaluate_things([floats(tiny_int4)], lm_eval=["ours_choices"], lm_eval_path=folder / "no")


class Request:
    def __init__(self, *args) -> None:
        self.args = args


def test_every_answer_is_the_one_of_a_table_worked_out_by_hand():
    from evaluation.harness import ThingLM
    from model.tokenizer import TokenizerSpec

    table = random_table(2)
    spec = TokenizerSpec(
        file="x", kind="hf", vocab_size=11, bos_id=0, num_bos=1, bos_text="", stop_ids=(10,), special_tokens=()
    )
    lines: list[str] = []
    model = ThingLM(TableScorer(table, rows=1), LetterTokenizer(), spec, room=6, label="table", progress=lines.append)
    log = table.double().log_softmax(-1)
    first = int(table[2].argmax())
    found = model.loglikelihood([Request("ab", chr(96 + first)), Request("", "a"), Request("abcdefghi", "c")])
    assert found[0] == (pytest.approx(float(log[2, first])), True)
    assert found[1][0] == pytest.approx(float(log[0, 1]))
    assert found[2][0] == pytest.approx(float(log[9, 3]))  # the prompt was cut from the left
    whole = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    rolling = sum(float(log[a, b]) for a, b in itertools.pairwise(whole))
    assert model.loglikelihood_rolling([Request("abcdefgh")]) == [pytest.approx(rolling)]
    new, last = [], 3
    while len(new) < 3 and (last := int(table[last].argmax())) != 10:
        new.append(last)
    text = LetterTokenizer().decode(new)
    assert model.generate_until([Request("abc", {"until": [], "max_gen_toks": 3})]) == [text]
    stop = text[1:2] or "?"
    cut = text[: text.find(stop)] if stop in text else text
    assert model.generate_until([Request("abc", {"until": [stop], "max_gen_toks": 3})]) == [cut]
    with pytest.raises(ValueError, match="set do_sample: false"):
        model.generate_until([Request("abc", {"do_sample": True, "temperature": 0.7})])
    assert lines[-1] == "table: 1 of 1 requests"
