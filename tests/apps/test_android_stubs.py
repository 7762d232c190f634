"""Every signature of the Android stubs names the public file or page that it was taken from."""

import re

import pytest

from tests.apps.kotlin_trees import sources
from tests.apps.trees import ANDROID_STUBS, parse, text, walk

FILES = sorted(ANDROID_STUBS.rglob("*.kt"))
DECLARATIONS = {
    "class_declaration",
    "object_declaration",
    "companion_object",
    "function_declaration",
    "property_declaration",
}
# A tag's source: a repository with a path, and the commit where the path alone does not name a version; or a page.
SOURCE = re.compile(r"^// \[(\w+)\] (?:([\w.-]+/[\w.-]+) (\S+)(?: @ ([0-9a-f]{40}))?|(https://\S+))$", re.M)
VERSIONED = re.compile(r"/api/(restricted_)?\d+\.\d+\.\d+-beta\d+\.txt$")


def named(path):
    return str(path.relative_to(ANDROID_STUBS))


def declarations(path):
    """Each declaration's name and the line that its name stands on."""
    lines = path.read_text().splitlines()
    for node in walk(parse(path)):
        is_member = node.type == "class_parameter" and any(child.type in ("val", "var") for child in node.children)
        if node.type in DECLARATIONS or is_member:
            if "private val" in text(node).split("\n")[0] and is_member:
                continue
            keyword = next(c for c in node.children if c.type not in ("modifiers", "line_comment", "annotation"))
            yield text(node).split("{")[0][:50], lines[keyword.start_point.row]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_declaration_has_a_source(path):
    tags = {found[1]: found for found in SOURCE.finditer(path.read_text())}
    assert tags
    used = set()
    for name, line in declarations(path):
        found = re.search(r"// \[(\w+)\]$", line)
        assert found, f"{name!r} in {path.name} has no source"
        assert found[1] in tags, f"{found[1]} in {path.name} is no source of its header"
        used.add(found[1])
    assert used == set(tags), "a source that nothing comes from"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_source_names_one_version(path):
    for found in SOURCE.finditer(path.read_text()):
        _, repository, file, commit, page = found.groups()
        assert page or commit or VERSIONED.search(file), f"{repository} {file} may change: name the commit"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_stub_computes_nothing(path):
    """A body that ran would be a second implementation, and a test over it would prove nothing."""
    assert "Signatures only: bodies never run." in path.read_text() or "bodies never run" in path.read_text()
    for node in walk(parse(path)):
        if node.type == "function_body":
            body = text(node).replace("=", "", 1).strip()
            assert body in ("TODO()", "{}") or re.fullmatch(r"\{\s*TODO\(\)\s*\}", body), f"{path.name}: {body[:60]}"


def test_what_the_app_imports_from_elsewhere_is_stubbed_or_real():
    """An import that no stub has would be seen by the compiler; a stub that nothing imports would not."""
    imported = {
        line.removeprefix("import ").strip()
        for path in [*sources("app/src/main", "app/src/androidTest", "engine/src/main"), *FILES]
        for line in path.read_text().splitlines()
        if line.startswith("import androidx.") or line.startswith("import org.pytorch.")
    }
    packages = {path: re.search(r"^package (\S+)", path.read_text(), re.M)[1] for path in FILES}
    reached = {package for package in packages.values() if any(name.startswith(package + ".") for name in imported)}
    by_the_plugin = {"androidx.compose.runtime.internal"}
    by_the_platform = {"android.os", "androidx.compose.foundation.gestures"}
    assert set(packages.values()) - reached <= by_the_plugin | by_the_platform
