"""Swift read by tree-sitter: what the tests of the iOS project need of it."""

from collections.abc import Iterator
from pathlib import Path

import tree_sitter_swift
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).resolve().parent.parent.parent
IOS = ROOT / "ios_app"
STUBS = ROOT / "tests" / "apps" / "stubs" / "ios"
_PARSER = Parser(Language(tree_sitter_swift.language()))


def parse(path: Path) -> Node:
    """The file's tree; it may hold errors."""
    return _PARSER.parse(path.read_bytes()).root_node


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()
