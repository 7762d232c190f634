"""Every signature of the iOS stubs names the public file or page that it was taken from."""

import re
from pathlib import Path

import pytest

from tests.apps.trees import IOS, IOS_STUBS

FILES = sorted((IOS_STUBS / "Sources").glob("[!P]*/*.swift"))  # PocketLM is a link to the app
PUBLIC = re.compile(r"^\s*(?:@\w+(?:\([^)]*\))? )*(?:@?\w+(?:\(\w+\))? )*?public\b")
APPLE = re.compile(r"https://developer\.apple\.com/documentation/[a-z]+/[\w./():,-]+$")
EXECUTORCH = re.compile(
    r"pytorch/executorch extension/(?:apple/ExecuTorch|llm/apple/ExecuTorchLLM)/Exported/[\w+]+\.(?:h|swift) \(.+\)$"
)
COMMIT = re.compile(r"read at commit [0-9a-f]{40}\b")


def named(path: Path) -> str:
    return str(path.relative_to(IOS_STUBS / "Sources"))


def declarations(path: Path) -> list[tuple[str, list[str]]]:
    """Each public declaration's first line and the comment over it."""
    found, comment = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        bare = line.strip()
        if bare.startswith("//"):
            comment.append(bare)
        elif PUBLIC.match(line):
            found.append((bare, comment))
            comment = []
        elif not bare.startswith("@"):
            comment = []
    return found


def test_the_stubs_are_found() -> None:
    modules = {path.parent.name for path in FILES}
    assert modules == {"ExecuTorch", "ExecuTorchLLM", "SwiftUI", "UIKit", "UniformTypeIdentifiers", "os"}
    assert sum(len(declarations(path)) for path in FILES) > 250


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_signature_has_a_source(path: Path) -> None:
    for line, comment in declarations(path):
        sources = [text.removeprefix("/// Source: ") for text in comment if text.startswith("/// Source: ")]
        own = [text for text in comment if text.startswith("/// No part of ")]
        assert len(sources) + len(own) == 1, f"{path.name}: {line!r} needs one source or 'No part of …'"
        for source in sources:
            assert APPLE.match(source) or EXECUTORCH.match(source), f"{path.name}: {source!r} is no address of a source"
            if EXECUTORCH.match(source):
                assert COMMIT.search(path.read_text(encoding="utf-8")), (
                    f"{path.name} does not say which commit was read"
                )


def test_the_app_imports_only_what_is_known() -> None:
    """A module that has no stub would be compiled by nobody here."""
    known = {path.parent.name for path in FILES} | {"PocketCore", "Foundation", "Observation", "XCTest"}
    for path in [*(IOS / "App").rglob("*.swift"), *(IOS / "AppTests").rglob("*.swift")]:
        modules = re.findall(r"^(?:@\w+ )?import (\w+)$", path.read_text(encoding="utf-8"), re.M)
        assert set(modules) <= known | {"PocketLM", "FoundationNetworking"}, path  # the last is Foundation on Linux
