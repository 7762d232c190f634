"""A test's end of the cores' end-to-end programs (Kotlin's and Swift's, one contract), and Python's same chat.

The program is started as `PROGRAM --packages FOLDER --chats FOLDER --platform android|ios --count exact|bound
[--runner module] [--system TEXT] --budget N -- COMMAND…`; it installs, keeps and talks with packages as an app does,
and starts the engine's process by COMMAND.
"""

import contextlib
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chat.session import Session
from chat.template import Message
from chat.turns import Turns
from export.package import open_package
from tests.apps.engine_client import ENGINE, ROOT, LineProcess

Language = Literal["kotlin", "swift"]
PROGRAMS: dict[Language, list[str]] = {"kotlin": [".ci/kotlin.sh", "run"], "swift": [".ci/swift.sh", "cli"]}
BUILDS: dict[Language, list[str]] = {"kotlin": [".ci/kotlin.sh", "e2e"], "swift": [".ci/swift.sh", "build"]}
PLATFORMS: dict[Language, str] = {"kotlin": "android", "swift": "ios"}
BUDGET = 100  # tokens a reply: three of them pass a window of 192 positions


@functools.cache
def build(language: Language) -> None:
    """Compiles the program if a source is newer, once a test run."""
    subprocess.run(BUILDS[language], cwd=ROOT, check=True, timeout=900)


@dataclass(frozen=True, kw_only=True)
class Home:
    """An app's folders, which outlive its process."""

    language: Language
    folder: Path

    def start(
        self, *, count: str = "exact", budget: int = BUDGET, system: str | None = None, runner: str | None = None
    ) -> "App":
        """The app's process."""
        options = ["--packages", str(self.folder / "packages"), "--chats", str(self.folder / "chats")]
        options += ["--platform", PLATFORMS[self.language], "--count", count, "--budget", str(budget)]
        options += [] if system is None else ["--system", system]
        options += [] if runner is None else ["--runner", runner]
        return App([*PROGRAMS[self.language], *options, "--", *ENGINE])


class App(LineProcess):
    """The program."""

    def install(self, source: Path) -> dict[str, Any]:
        return self.ask(do="install", source=str(source))

    def installed(self, source: Path) -> str:
        """Installs a package and returns its id."""
        final = self.install(source)["final"]
        assert final["state"] == "installed", final
        return str(final["id"])

    def event(self, event: str, *, stop_after: int | None = None, **payload: Any) -> dict[str, Any]:
        """An event and what came of it when the chat is at rest again."""
        return self.ask(do="event", event={"event": event, **payload}, stop_after=stop_after)

    def open(self, package: str) -> dict[str, Any]:
        """Opens a package; the state at rest."""
        state = self.event("packageOpened", package=package)["state"]
        assert isinstance(state, dict)
        return state

    def reply(self, text: str) -> str:
        """Sends a message; the whole reply."""
        answer = self.event("sent", text=text)
        assert answer["state"]["state"] == "idle", answer
        assert answer["state"]["chat"]["refusal"] is None, answer
        last = answer["state"]["chat"]["messages"][-1]
        assert last["role"] == "assistant"
        assert "".join(answer["texts"]) == last["content"]
        return str(last["content"])


@contextlib.contextmanager
def python_session(package: Path, *, runner: str = "native", system: str | None = None) -> Iterator[Session]:
    """The same chat in Python: chat/session.py over the phones' runner, Python's own, or the CoreML loop."""
    from cli.engines import Sampling, open_engine

    sampling = Sampling(temperature=0.0, top_p=None, seed=None)
    with open_engine(package, runner=runner, sampling=sampling) as opened:
        yield Session(opened.engine, opened.turns, opened.context, system=system)


def turns_of(package: Path) -> Turns:
    """The texts of a package's chats."""
    with open_package(package) as opened:
        manifest = opened.manifest
        tokens = {token.id: token.text for token in manifest.tokenizer.special_tokens}
        return Turns.of(manifest.template, special_tokens=tokens, stop_ids=manifest.tokenizer.stop_ids)


def messages_of(state: dict[str, Any]) -> list[Message]:
    return [Message(role=message["role"], content=message["content"]) for message in state["chat"]["messages"]]
