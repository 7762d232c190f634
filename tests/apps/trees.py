"""Source files read by tree-sitter: what the tests of both apps' projects need of any language."""

from collections.abc import Iterator
from pathlib import Path

import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).resolve().parent.parent.parent
ANDROID, IOS = ROOT / "android_app", ROOT / "ios_app"
ANDROID_STUBS, IOS_STUBS = (ROOT / "tests" / "apps" / "stubs" / name for name in ("android", "ios"))
_KOTLIN = Parser(Language(tree_sitter_kotlin.language()))
_PARSERS = {".kt": _KOTLIN, ".kts": _KOTLIN, ".swift": Parser(Language(tree_sitter_swift.language()))}


def parse(path: Path) -> Node:
    """The file's tree; it may hold errors."""
    return _PARSERS[path.suffix].parse(path.read_bytes()).root_node


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()
