"""The apps' cores, end to end on Linux: Kotlin's and Swift's programs over the phones' own runner, held against Python.

Every test runs for both languages: `make android` runs Kotlin's (marker kotlin), `make ios` Swift's (marker swift).
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from chat.template import Message
from tests.apps.app_packages import copied, zipped
from tests.apps.app_program import BUDGET, Home, build, messages_of, python_session
from tests.vectors.memory_cases import verdict
from tests.vectors.sentence_cases import as_sentence

LANGUAGES = [pytest.param("kotlin", marks=pytest.mark.kotlin), pytest.param("swift", marks=pytest.mark.swift)]
# nano has read code: of these it makes more than one line over and over.
QUESTIONS = ("import os\n\ndef walk(folder, depth=0):\n", "    # Then the names of all files,", "\n\nif __name__ ==")
ALL = ["checkingSpace", "unpacking", "verifying", "moving"]


@pytest.fixture(params=LANGUAGES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """An app that was never started."""
    build(request.param)
    for name in ("packages", "chats"):
        (tmp_path / "app" / name).mkdir(parents=True)
    return Home(language=request.param, folder=tmp_path / "app")


def python_replies(package: Path, questions: tuple[str, ...], **options: Any) -> tuple[list[str], Any]:
    """Python's replies to these questions, and its session's mark."""
    with python_session(package, **options) as session:
        replies = ["".join(session.send(question, max_new_tokens=BUDGET)) for question in questions]
        return replies, session.mark


def test_a_package_is_imported_listed_and_removed(home: Home, endless_package: Path, tmp_path: Path) -> None:
    archive = zipped(endless_package, tmp_path / "nano.zip")
    with home.start() as app:
        first = app.install(archive)
        assert (first["phases"], first["final"]["state"]) == (ALL, "installed")
        again = app.install(archive)
        assert (again["phases"], again["final"]) == (["checkingSpace"], first["final"])
        (listed,) = app.ask(do="library")["packages"]
        assert (listed["id"], listed["name"], listed["target"]) == (first["final"]["id"], "nano", "xnnpack")
        assert listed["bytes"] == sum(p.stat().st_size for p in endless_package.rglob("*") if p.name != "manifest.json")
        assert app.ask(do="remove", id=listed["id"]) == {"removed": True}
        assert app.ask(do="library") == {"packages": [], "unfinished": []}
    assert list((home.folder / "packages").iterdir()) == []
    assert archive.is_file()


def test_a_flipped_byte_is_refused_with_its_sentence(home: Home, endless_package: Path, tmp_path: Path) -> None:
    folder = copied(endless_package, tmp_path / "nano")
    program = bytearray((folder / "model.pte").read_bytes())
    program[len(program) // 2] ^= 1
    (folder / "model.pte").write_bytes(program)
    for source in (folder, zipped(folder, tmp_path / "nano.zip")):
        with home.start() as app:
            final = app.install(source)["final"]
            assert (final["state"], final["key"]) == ("refused", "fileDamaged")
            assert final["text"].startswith("model.pte is damaged: its sha256 is not the one in the manifest.")
            assert app.ask(do="library")["packages"] == []
    assert list((home.folder / "packages").iterdir()) == []


def test_three_turns_past_the_context_are_pythons(home: Home, endless_package: Path) -> None:
    replies, mark = python_replies(endless_package, QUESTIONS)
    with home.start() as app:
        app.open(app.installed(endless_package))
        assert [app.reply(question) for question in QUESTIONS] == replies
        state = app.event("cameToForeground")["state"]
    assert state["chat"]["mark"]["first_visible_turn"] == mark.first_visible_turn > 0
    assert state["chat"]["mark"]["is_partial"] == mark.is_partial
    statistics = state["chat"]["statistics"]
    assert statistics["new_tokens"] == BUDGET and statistics["decode_tokens_per_s"] > 0


def test_bounds_in_place_of_counts_change_no_reply_of_an_endless_chat(home: Home, endless_package: Path) -> None:
    replies, _ = python_replies(endless_package, QUESTIONS)
    with home.start(count="bound") as app:
        app.open(app.installed(endless_package))
        assert [app.reply(question) for question in QUESTIONS] == replies


def test_a_chat_with_a_template_and_a_system_text_is_pythons(home: Home, chat_package: Path) -> None:
    questions = ("a dog", "a </s> <|end_of_text|> cat", "  the sea ")
    replies, mark = python_replies(chat_package, questions, system="Be kind.")
    with home.start(system="Be kind.") as app:
        state = app.open(app.installed(chat_package))
        assert state["chat"]["messages"] == [{"role": "system", "content": "Be kind."}]
        assert [app.reply(question) for question in questions] == replies
        state = app.event("cameToForeground")["state"]
    assert [message.content for message in messages_of(state)[1::2]] == list(questions)
    assert state["chat"]["mark"]["first_visible_turn"] == mark.first_visible_turn


def test_a_bounded_chat_ends_where_pythons_ends(home: Home, bounded_package: Path) -> None:
    with python_session(bounded_package) as session:
        wanted = ["".join(session.send(question, max_new_tokens=BUDGET)) for question in QUESTIONS[:2]]
        assert session.reply is not None and session.reply.end == "context"
        note = session.reply.note
        with pytest.raises(ValueError, match="the chat is full") as full:
            list(session.send(QUESTIONS[2], max_new_tokens=BUDGET))
    with home.start() as app:
        app.open(app.installed(bounded_package))
        assert [app.reply(question) for question in QUESTIONS[:2]] == wanted
        chat = app.event("sent", text=QUESTIONS[2])["state"]["chat"]
    assert chat["note"] == ""  # of the message that was refused; the cut reply's note went with it
    assert note.startswith("the reply stops here")
    said = str(full.value)
    assert chat["refusal"] == {"key": None, "text": said[0].upper() + said[1:] + "."}
    assert messages_of({"chat": chat})[-1].content == QUESTIONS[2]  # stays, unanswered


def test_bounds_end_a_bounded_chat_early_with_a_sentence(home: Home, bounded_package: Path) -> None:
    with python_session(bounded_package) as session:
        wanted = "".join(session.send(QUESTIONS[0], max_new_tokens=1000))
    with home.start(count="bound", budget=1000) as app:
        app.open(app.installed(bounded_package))
        answer = app.event("sent", text=QUESTIONS[0])
    chat = answer["state"]["chat"]
    reply = messages_of({"chat": chat})[-1].content
    assert wanted.startswith(reply) and len(reply) > len(wanted) // 2
    assert "this package's limit of 192 tokens" in chat["note"]


def test_a_killed_app_finds_its_chat_and_the_question_again(home: Home, endless_package: Path) -> None:
    question = "word " * 4000  # long enough to be killed in
    with home.start() as app:
        package = app.installed(endless_package)
        app.open(package)
        replies = [app.reply(question) for question in QUESTIONS[:2]]
        app.send(do="event", event={"event": "sent", "text": question}, stop_after=None)
        _wait_for(home.folder / "chats", question)
        app.kill()
    said = [text for pair in zip(QUESTIONS[:2], replies, strict=True) for text in pair]
    with python_session(endless_package) as session:
        kept = session.restore(messages_of({"chat": {"messages": _alternating(said)}}))
        wanted = "".join(session.send(question, max_new_tokens=BUDGET))
    with home.start() as app:
        state = app.open(package)
        assert state["state"] == "idle"
        assert [m.content for m in messages_of(state)] == [*said, question]
        assert state["chat"]["note"] == as_sentence(kept.note)
        answer = app.event("regenerateTapped")
        assert [m.content for m in messages_of(answer["state"])] == [*said, question, wanted]


def _alternating(texts: list[str]) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def _wait_for(folder: Path, question: str) -> None:
    """Until the saved chat ends with the question: it is saved before it is sent."""
    deadline = time.monotonic() + 20
    asked = {"role": "user", "content": question}
    while not any(json.loads(path.read_text())["messages"][-1] == asked for path in folder.glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_stopped_reply_stays_and_the_chat_goes_on(home: Home, endless_package: Path) -> None:
    with home.start(budget=1000) as app:
        app.open(app.installed(endless_package))
        answer = app.event("sent", text=QUESTIONS[0], stop_after=10)
        assert "cancelling" in answer["states"]
        stopped = messages_of(answer["state"])[-1].content
        assert 10 <= len(stopped) < 3000
        at_once = app.event("sent", text=QUESTIONS[1], stop_after=0)
        assert at_once["state"]["state"] == "idle"
        after = app.event("sent", text=QUESTIONS[2], stop_after=20)
        assert messages_of(after["state"])[-1].role == "assistant"


def test_another_reply_replaces_the_last_one(home: Home, endless_package: Path) -> None:
    with python_session(endless_package) as session:
        for question in QUESTIONS[:2]:
            list(session.send(question, max_new_tokens=BUDGET))
        wanted = "".join(session.regenerate(max_new_tokens=BUDGET))
    with home.start() as app:
        app.open(app.installed(endless_package))
        for question in QUESTIONS[:2]:
            app.reply(question)
        state = app.event("regenerateTapped")["state"]
    assert messages_of(state)[-1].content == wanted
    assert len(messages_of(state)) == 4


def test_a_model_that_was_let_go_is_loaded_again_with_its_chat(home: Home, endless_package: Path) -> None:
    with home.start() as app:
        package = app.installed(endless_package)
        app.open(package)
        reply = app.reply(QUESTIONS[0])
        state = app.event("memoryLow")["state"]
        assert (state["state"], state["reason"]) == ("unloaded", "memory")
        state = app.open(package)
        assert state["state"] == "idle" and messages_of(state)[-1].content == reply
        assert app.reply(QUESTIONS[1])
        assert app.event("newChatTapped")["state"]["chat"]["messages"] == []
        assert app.reply(QUESTIONS[0]) == reply
        assert app.event("packageClosed")["state"] == {"state": "empty"}


def test_ten_thousand_characters_are_taken_or_refused_with_a_sentence(
    home: Home, endless_package: Path, bounded_package: Path
) -> None:
    pasted = "word " * 2000
    replies, _ = python_replies(endless_package, (pasted,))
    with home.start() as app:
        app.open(app.installed(endless_package))
        assert app.reply(pasted) == replies[0]
        app.open(app.installed(bounded_package))
        chat = app.event("sent", text=pasted)["state"]["chat"]
    assert "this package holds 192 in all; send a shorter message." in chat["refusal"]["text"]


def test_a_long_prompt_is_stopped_before_its_reply(home: Home, endless_package: Path) -> None:
    """The question stays; where the runner lost the stop, the chat has repeated it after the first tokens."""
    pasted = "word " * 2000
    replies, _ = python_replies(endless_package, QUESTIONS[:1])
    with home.start() as app:
        app.open(app.installed(endless_package))
        answer = app.event("sent", text=pasted, stop_after=0)
        assert "cancelling" in answer["states"]
        last = messages_of(answer["state"])[-1]
        assert len("".join(answer["texts"])) < 40
        if last == Message(role="user", content=pasted):
            assert app.reply(QUESTIONS[0]) == replies[0]  # from an empty cache: nobody knows how much was written
        else:
            assert last.role == "assistant"


def test_a_damaged_saved_chat_is_told_and_kept(home: Home, endless_package: Path) -> None:
    with home.start() as app:
        package = app.installed(endless_package)
        app.open(package)
        app.reply(QUESTIONS[0])
    (file,) = (home.folder / "chats").glob("*.json")
    file.write_text('{"schema_version": 1,')
    with home.start() as app:
        state = app.open(package)
        assert (state["state"], state["refusal"]["key"]) == ("loadFailed", "historyDamaged")
        state = app.open(package)
        assert (state["state"], state["chat"]["messages"]) == ("idle", [])
    assert any(path.read_text() == '{"schema_version": 1,' for path in (home.folder / "chats").iterdir())


def test_a_package_is_measured_against_the_device(home: Home, endless_package: Path) -> None:
    needed = json.loads((endless_package / "manifest.json").read_text())["memory"]["estimated_peak_bytes"]
    with home.start() as app:
        package = app.installed(endless_package)
        for available, most in ((8 * needed, 9 * needed), (needed, 2 * needed), (needed, needed - 1)):
            found = app.ask(do="memory", id=package, available_bytes=available, most_bytes=most)
            assert found == verdict(needed, available, most)


def test_the_self_test_passes_and_notices_another_model(home: Home, endless_package: Path, tmp_path: Path) -> None:
    other = copied(endless_package, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    assert manifest["golden"]["compared"] > 0
    manifest["golden"]["text"] = "X" + manifest["golden"]["text"][1:]
    (other / "manifest.json").write_text(json.dumps(manifest))
    with home.start() as app:
        passed = app.ask(do="self_test", id=app.installed(endless_package))
        assert (passed["verdict"], passed["key"]) == ("passed", "selfTestPassed")
        failed = app.ask(do="self_test", id=app.installed(other))
        assert (failed["verdict"], failed["key"]) == ("failed", "selfTestFailedText")


def test_a_benchmark_is_exported_as_the_vectors_say(home: Home, endless_package: Path) -> None:
    from tests.test_vectors import validator
    from tests.vectors.benchmark_cases import ABOUT, plan
    from tests.vectors.generate import SCHEMA_VERSION

    with home.start() as app:
        found = app.ask(do="benchmark", id=app.installed(endless_package), about=ABOUT)
    case = {"name": "x", "call": "export", "about": ABOUT, "new_tokens": 64, "runs": found["runs"], "expected": found}
    document = {"schema_version": SCHEMA_VERSION, "description": "x", "cases": [case]}
    assert [error.message for error in validator("benchmark").iter_errors(document)] == []
    wanted = plan("endless", 192)["runs"]
    assert [(r["prompt_tokens"], r["is_warm_up"]) for r in found["runs"]] == [
        (r["prompt_tokens"], r["is_warm_up"]) for r in wanted
    ]
    assert all(run["decode_tokens_per_s"] > 0 for run in found["runs"])


def test_a_package_that_the_runtime_cannot_load_is_told(home: Home, endless_package: Path) -> None:
    with home.start() as app:
        package = app.installed(endless_package)
        folder = home.folder / "packages" / package[:16]
        (folder / "model.pte").write_bytes(b"\0" * (folder / "model.pte").stat().st_size)
        state = app.open(package)
        assert state["state"] == "loadFailed"
        assert state["refusal"]["text"].endswith(".")
        shutil.rmtree(folder)
