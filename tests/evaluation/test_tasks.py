"""Questions: what is refused and where it stands, and every answer against likelihoods worked out by hand."""

import json

import pytest

from evaluation.task_files import read_questions
from evaluation.tasks import cut_left, encode_pair, encode_task, score_task
from tests.evaluation.tables import LetterTokenizer, TableScorer, random_table

TABLE = random_table(5)
LOG = TABLE.double().log_softmax(-1)
CHOICES = {"query": "abc ", "choices": [" de", "fgh", "i"], "gold": 1}
CONTEXTS = {"context_options": ["ab", "cb a"], "continuation": "de", "gold": 0}
LETTERS = LetterTokenizer()


def nats(text: str, start: int) -> float:
    """Of the letters from `start` on, each after the one before it."""
    return sum(float(LOG[ord(a) - 96, ord(b) - 96]) for a, b in zip(text[start - 1 :], text[start:], strict=False))


def ask(tmp_path, *entries, room=100, delimiter=" "):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    task = encode_task("task", read_questions(path), LETTERS, room=room, delimiter=delimiter)
    return task, score_task(task, TableScorer(TABLE))


def test_a_choice_is_judged_by_its_own_tokens_and_a_byte_of_it_by_its_share(tmp_path):
    sums = [nats("abcde", 3), nats("abcfgh", 3), nats("abci", 3)]
    by_byte = [sums[0] / 2, sums[1] / 3, sums[2]]
    _, found = ask(tmp_path, *(CHOICES | {"gold": gold} for gold in range(3)))
    assert list(found.correct) == [gold == sums.index(max(sums)) for gold in range(3)]
    assert list(found.correct_by_length) == [gold == by_byte.index(max(by_byte)) for gold in range(3)]
    assert list(found.gold_nll) == pytest.approx([-value for value in sums])
    assert list(found.correct) != list(found.correct_by_length)  # the case is one where the two differ


def test_context_options_are_judged_by_the_continuation_alone(tmp_path):
    sums = [nats("abde", 2), nats("cbade", 3)]
    _, found = ask(tmp_path, CONTEXTS, CONTEXTS | {"gold": 1})
    assert list(found.correct) == [sums[0] > sums[1], sums[1] > sums[0]]
    assert list(found.gold_nll) == pytest.approx([-sums[0], -sums[1]])


def test_a_completion_is_right_only_if_greedy_decoding_writes_all_of_it(tmp_path):
    first = int(TABLE[3].argmax())
    both = first, int(TABLE[first].argmax())
    assert all(1 <= token <= 26 for token in both)
    right = "".join(chr(96 + token) for token in both)
    wrong = right[0] + ("a" if right[1] != "a" else "b")
    _, found = ask(
        tmp_path, {"context": "abc", "continuation": right}, {"context": "abc", "continuation": wrong, "other": 1}
    )
    assert (found.form, list(found.correct), found.correct_by_length) == ("completion", [True, False], None)
    assert found.gold_nll[0] == pytest.approx(-nats("abc" + right, 3))


def test_a_delimiter_stands_before_the_answer_and_is_scored_with_it(tmp_path):
    _, found = ask(tmp_path, CHOICES, delimiter="j")
    assert found.gold_nll[0] == pytest.approx(-nats("abcjfgh", 3))


def test_a_long_prompt_is_cut_from_the_left_behind_the_begin_of_text(tmp_path):
    task, found = ask(tmp_path, CHOICES, {"query": "a", "choices": ["bc", "d"], "gold": 0}, room=5)
    assert (task.cut, found.cut) == (2, 2)
    assert [text.ids for text in task.questions[0]] == [(0, 2, 3, 4, 5), (0, 3, 6, 7, 8), (0, 1, 2, 3, 9)]
    assert [text.start for text in task.questions[0]] == [3, 2, 4]
    assert [text.ids for text in task.questions[1]] == [(0, 1, 2, 3), (0, 1, 4)]


def test_an_answer_longer_than_the_context_keeps_what_can_be_scored():
    assert cut_left([0, 1, 2, 3, 4, 5], 2, 3, [0]) == ([0, 4, 5], 1)
    assert cut_left([7, 1, 2, 3], 2, 3, []) == ([1, 2, 3], 1)


def test_a_token_that_joins_prompt_and_answer_is_scored():
    class Joining(LetterTokenizer):
        def encode(self, text, *, first):
            return [0] * first + [10 if part == "cd" else ord(part[0]) - 96 for part in ("a", "b", "cd")[: len(text)]]

    assert encode_pair("abc", "d", Joining()) == ([0, 1, 2, 10], 3)


def test_an_empty_prompt_is_the_begin_of_a_text():
    assert encode_pair("", "ab", LETTERS) == ([0, 1, 2], 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 2: not valid JSON"),
        (b"\xff", "line 2: byte 0 is not UTF-8"),
        (b"[1]", "line 2: holds a list; each line holds one object"),
        (b"{}", "line 2: has the keys none; it needs query, choices and gold"),
        (b'{"query": "a", "choices": ["b", "c"]}', "line 2: has the keys 'query', 'choices'; it needs"),
        (b'{"query": "a", "choices": ["b"], "gold": 0}', "line 2: choices must be a list of at least two texts"),
        (b'{"query": "a", "choices": ["b", 3], "gold": 0}', r"line 2: choices\[1\] is 3; it must be a text"),
        (b'{"query": " ", "choices": ["b", "c"], "gold": 0}', "line 2: query is ' '; it must be a text that is not"),
        (b'{"query": "a", "choices": ["b", "c"], "gold": 2}', "line 2: gold is 2; it must be an index from 0 to 1"),
        (b'{"query": "a", "choices": ["b", "c"], "gold": true}', "line 2: gold is True"),
        (b'{"query": "a", "choices": ["b", "\\ud800"], "gold": 0}', "line 2: .* half of a surrogate pair"),
        (b'{"context_options": ["a", "b"], "continuation": 1, "gold": 0}', "line 2: continuation is 1"),
        (b'{"context": "a", "continuation": "b"}', "line 2: a completion question among choices ones"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(tmp_path, line, message):
    path = tmp_path / "task.jsonl"
    path.write_bytes(json.dumps(CHOICES).encode() + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=message):
        read_questions(path)


def test_a_limit_reads_no_further_and_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "task.jsonl"
    path.write_text(json.dumps(CHOICES) + "\n\nbroken\n")
    assert len(read_questions(path, 1)) == 1
    path.write_text("\n")
    with pytest.raises(ValueError, match="holds no question"):
        read_questions(path)
    with pytest.raises(ValueError, match="is not a file"):
        read_questions(tmp_path)


def test_every_file_of_questions_that_we_have_is_read(shared):
    found = {path.stem: read_questions(path) for path in (shared / "bench").glob("*.jsonl")}
    assert {name: len(questions) for name, questions in found.items()} == {
        "arc_challenge": 1172, "arc_easy": 2376, "boolq": 3270, "lambada_openai": 5153, "openbook_qa": 500,
        "piqa": 1838, "siqa": 1954, "winogrande": 1267,
    }  # fmt: skip
    assert found["lambada_openai"][0].form == "completion" and len(found["winogrande"][0].pairs) == 2
