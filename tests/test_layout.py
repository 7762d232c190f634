"""The house style as far as a program can check it."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmarks", "chat", "cli", "evaluation", "export", "kernels", "model", "quant", "runner", "train")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MOST_LINES_A_FUNCTION = 50
MOST_LINES_A_COMMAND = 20


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def is_command(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).startswith("click.command") for decorator in function.decorator_list)


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_file_opens_with_one_plain_sentence(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "a module docstring"
    first = re.split(r"(?<=[.:])\s", text)[0]
    assert first.endswith((".", ":")), first


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=named)
def test_an_init_file_is_a_docstring_and_nothing_else(path):
    assert len(ast.parse(path.read_text()).body) == 1


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_function_has_more_than_fifty_lines(path):
    long = {
        f.name: f.end_lineno - f.lineno + 1 for f in functions(path) if f.end_lineno - f.lineno >= MOST_LINES_A_FUNCTION
    }
    assert long == {}


def test_a_command_has_at_most_twenty_lines():
    commands = {
        f.name: sum(bool(line.strip()) for line in ast.unparse(f.body).splitlines())
        for path in SOURCES
        for f in functions(path)
        if is_command(f)
    }
    assert len(commands) >= 8
    assert {name: lines for name, lines in commands.items() if lines > MOST_LINES_A_COMMAND} == {}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_is_loaded_from_an_unsafe_pickle(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert node.attr == "UnpicklingError"
        if isinstance(node, ast.ImportFrom):
            assert node.module != "pickle"


def test_there_is_no_init_file_below_tests():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_package_folder_is_installed_and_linted():
    project = (ROOT / "pyproject.toml").read_text()
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_code == set(FOLDERS)
    assert project.count(str([*FOLDERS]).replace("'", '"')) >= 2  # mypy, import-linter
    inner = {path.parent.name for path in ROOT.glob("export/*/__init__.py")}
    packages = {*FOLDERS, *(f"export.{name}" for name in inner)}
    assert set(tomllib.loads(project)["tool"]["setuptools"]["packages"]) == packages


def test_the_readme_has_a_line_for_every_source_file():
    tree = (ROOT / "docs" / "tree.md").read_text()
    native = [
        path for folder in ("kernels", "runner") for kind in ("*.cpp", "*.h") for path in (ROOT / folder).glob(kind)
    ]
    missing = [
        named(path)
        for path in [*SOURCES, *native]
        if path.name not in ("__init__.py", "__main__.py")
        and not re.search(rf"^\s+{re.escape(path.name)}\s+\S", tree, re.MULTILINE)
    ]
    assert missing == []


def test_nothing_of_the_shared_folder_is_in_the_repository(shared):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    here = {
        (ROOT / name).read_bytes()
        for name in listed.split("\0")
        if name and (ROOT / name).is_file() and (ROOT / name).stat().st_size > 200
    }
    for path in shared.rglob("*"):
        # Licences are meant to travel.
        if path.is_file() and not path.name.startswith("LICENSE") and path.stat().st_size < 5_000_000:
            assert path.read_bytes() not in here, path


def test_the_tested_versions_cover_every_dependency():
    project = (ROOT / "pyproject.toml").read_text()
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = re.findall(r'^  "([A-Za-z_-]+)[=>]', project, re.MULTILINE)
    assert len(wanted) > 15
    assert [name for name in wanted if name.lower().replace("_", "-") not in pinned] == []
