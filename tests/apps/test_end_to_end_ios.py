"""What only Swift's core does, end to end: the CoreML loop over the verifier, and its own tokenizer over `Module`."""

from pathlib import Path

import pytest

from tests.apps.app_program import BUDGET, Home, build, messages_of, python_session
from tests.apps.test_end_to_end import QUESTIONS, python_replies

pytestmark = pytest.mark.swift


@pytest.fixture
def home(tmp_path: Path) -> Home:
    build("swift")
    for name in ("packages", "chats"):
        (tmp_path / "app" / name).mkdir(parents=True)
    return Home(language="swift", folder=tmp_path / "app")


def test_four_turns_of_a_coreml_package_are_pythons(home: Home, coreml_package: Path) -> None:
    questions = (*QUESTIONS, " And so")  # its window is longer
    replies, mark = python_replies(coreml_package, questions, runner="python")
    with home.start() as app:
        app.open(app.installed(coreml_package))
        assert [app.reply(question) for question in questions] == replies
        state = app.event("cameToForeground")["state"]
    assert state["chat"]["mark"]["first_visible_turn"] == mark.first_visible_turn > 0


def test_a_coreml_package_passes_its_self_test_by_ids(home: Home, coreml_package: Path) -> None:
    with home.start() as app:
        verdict = app.ask(do="self_test", id=app.installed(coreml_package))
    assert (verdict["verdict"], verdict["key"]) in {("passed", "selfTestPassed"), ("passed", "selfTestPassedLater")}


def test_a_coreml_chat_is_let_go_and_loaded_again(home: Home, coreml_package: Path) -> None:
    with home.start(budget=8) as app:
        package = app.installed(coreml_package)
        app.open(package)
        reply = app.reply(QUESTIONS[0])
        assert app.event("memoryLow")["state"]["state"] == "unloaded"
        state = app.open(package)
        assert state["state"] == "idle" and messages_of(state)[-1].content == reply
        assert app.reply(QUESTIONS[1])


def test_module_and_tokenizer_of_our_own_give_the_runners_chat(home: Home, endless_package: Path) -> None:
    replies, _ = python_replies(endless_package, QUESTIONS)
    with home.start(runner="module") as app:
        app.open(app.installed(endless_package))
        assert [app.reply(question) for question in QUESTIONS] == replies


def test_module_chats_with_a_template_too(home: Home, chat_package: Path) -> None:
    with python_session(chat_package) as session:
        wanted = ["".join(session.send(q, max_new_tokens=BUDGET)) for q in ("a dog 😀", "Grüße\n\n  1234")]
    with home.start(runner="module") as app:
        app.open(app.installed(chat_package))
        assert [app.reply(question) for question in ("a dog 😀", "Grüße\n\n  1234")] == wanted
