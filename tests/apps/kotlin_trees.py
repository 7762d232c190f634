"""Kotlin read by tree-sitter: what the tests of the Android project need of it."""

from collections.abc import Iterator
from pathlib import Path

from tree_sitter import Node

from tests.apps.trees import ANDROID, parse, text, walk


def errors(path: Path) -> list[str]:
    """Where the file does not parse."""
    return [
        f"{path.name}:{node.start_point.row + 1}: {text(node)[:60]!r}"
        for node in walk(parse(path))
        if node.is_error or node.is_missing
    ]


def calls(path: Path) -> Iterator[tuple[str, list[Node]]]:
    """Each call's name and its arguments, lambdas behind the brackets not counted."""
    for node in walk(parse(path)):
        if node.type != "call_expression":
            continue
        arguments = [n for child in node.children if child.type == "value_arguments" for n in child.named_children]
        yield text(node.children[0]), [n for n in arguments if n.type == "value_argument"]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and number of lines."""
    for node in walk(parse(path)):
        if node.type == "function_declaration":
            name = node.child_by_field_name("name") or next(n for n in node.children if n.type == "identifier")
            yield text(name), node.end_point.row - node.start_point.row + 1


def sources(*folders: str) -> list[Path]:
    """The app's Kotlin files below folders of `android_app`; all of them without a folder."""
    roots = [ANDROID / folder for folder in folders] or [ANDROID]
    return sorted(path for root in roots for path in root.rglob("*.kt"))
