"""Reads ExecuTorch's in-memory file system: the folder of files that a CoreML delegate carries as its bytes.

The files' contents come first. Behind them stands, written backwards to the last byte, a JSON object that lists the
nodes (name, kind, region or children) with the root last. Format: executorch 1.5.1,
backends/apple/coreml/runtime/inmemoryfs/inmemory_filesystem.cpp.
"""

import json
from typing import Any

_FILE, _FOLDER = 0, 1
_FIRST_LOOK = 1 << 14  # bytes of the end that are looked at first; four times more until the JSON is whole
_MAX_JSON = 1 << 24
_MAX_NODES = 10_000
_DAMAGED = "make the package again with `pocketlm export`"


def read_memory_files(data: memoryview) -> dict[str, memoryview]:
    """The files below the root, path to content in place.

    Raises:
        ValueError: the bytes end in no such list, or it leads outside of them.
    """
    nodes, listed = _nodes(data)
    room = len(data) - listed
    paths: list[dict[str, memoryview]] = []  # of each node: what lies below it, by path relative to it
    placed: set[int] = set()  # nodes that lie in a folder
    for index, node in enumerate(nodes):
        kind, name = node.get("kind"), node.get("name")
        if not isinstance(name, str):
            raise ValueError(f"file {index} of a CoreML delegate has no name; {_DAMAGED}")
        if kind == _FILE:
            paths.append({"": _region(node.get("dataRegion"), name, data[:room])})
        elif kind == _FOLDER:
            paths.append(_children(node.get("children"), name, paths, placed))
        else:
            raise ValueError(f"{name!r} in a CoreML delegate is neither file nor folder (kind {kind!r}); {_DAMAGED}")
    return {path: content for path, content in paths[-1].items() if path}


def _nodes(data: memoryview) -> tuple[list[dict[str, Any]], int]:
    """The list of nodes, and how many bytes it takes."""
    look = _FIRST_LOOK
    while True:
        text = bytes(data[max(0, len(data) - look) :])[::-1].decode("latin-1")
        try:
            found, size = json.JSONDecoder().raw_decode(text)
            break
        except (ValueError, RecursionError):
            if look >= min(len(data), _MAX_JSON):
                raise ValueError(f"a CoreML delegate does not end in a list of its files; {_DAMAGED}") from None
            look *= 4
    nodes = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(nodes, list) or not 0 < len(nodes) <= _MAX_NODES or not all(isinstance(n, dict) for n in nodes):
        raise ValueError(f"a CoreML delegate ends in a list without files; {_DAMAGED}")
    return nodes, size


def _region(region: object, name: str, data: memoryview) -> memoryview:
    offset, size = (region.get("offset"), region.get("size")) if isinstance(region, dict) else (None, None)
    if type(offset) is not int or type(size) is not int or offset < 0 or size < 0 or offset + size > len(data):
        raise ValueError(f"{name} claims {size} bytes from byte {offset} of a delegate of {len(data)}; {_DAMAGED}")
    return data[offset : offset + size]


def _children(
    children: object, name: str, paths: list[dict[str, memoryview]], placed: set[int]
) -> dict[str, memoryview]:
    """What lies in a folder; its children come before it in the list."""
    if not isinstance(children, dict):
        raise ValueError(f"the folder {name!r} of a CoreML delegate has no list of files; {_DAMAGED}")
    found: dict[str, memoryview] = {}
    for child, index in children.items():
        if type(index) is not int or not 0 <= index < len(paths):
            raise ValueError(f"{child!r} in {name!r} of a CoreML delegate is node {index} of {len(paths)}; {_DAMAGED}")
        if index in placed:
            raise ValueError(f"{child!r} in {name!r} of a CoreML delegate lies in two folders; {_DAMAGED}")
        placed.add(index)
        if not child or child in (".", "..") or "/" in child or "\\" in child or "\0" in child or not child.isascii():
            raise ValueError(f"{child!r} in {name!r} of a CoreML delegate is no name of a file; {_DAMAGED}")
        found |= {f"{child}/{path}" if path else child: content for path, content in paths[index].items()}
    return found
