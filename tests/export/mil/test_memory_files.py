"""ExecuTorch's in-memory file system: what its own code flattens is read back; damage is a one-line ValueError."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.mil.memory_files import read_memory_files


def flattened(nodes: object, content: bytes = b"") -> memoryview:
    return memoryview(content + json.dumps({"nodes": nodes}).encode()[::-1])


def test_a_folder_that_executorch_flattens_is_read_back(tmp_path: Path) -> None:
    from executorch.backends.apple.coreml import executorchcoreml

    files = {"metadata.json": b'{"}": 1}', "m/Data/a.bin": bytes(range(256)) * 99, "m/Data/deep/er/x": b"y"}
    files |= {f"many/{i}-{'n' * 40}": str(i).encode() for i in range(300)}  # a list longer than the first look
    for path, content in files.items():
        (tmp_path / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / path).write_bytes(content)
    data = executorchcoreml.flatten_directory_contents(str(tmp_path / "root"))
    found = read_memory_files(memoryview(data))
    assert {path: bytes(content) for path, content in found.items()} == files


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ([], "list without files"),
        ({"a": 1}, "list without files"),
        ([{"kind": 0, "name": "a", "dataRegion": {"offset": 0, "size": 9}}], "claims 9 bytes from byte 0"),
        ([{"kind": 0, "name": "a", "dataRegion": {"offset": -1, "size": 1}}], "claims 1 bytes from byte -1"),
        ([{"kind": 0, "name": "a"}], "claims None bytes"),
        ([{"kind": 0}], "has no name"),
        ([{"kind": 7, "name": "a"}], "neither file nor folder"),
        ([{"kind": 1, "name": "a"}], "no list of files"),
        ([{"kind": 1, "name": "a", "children": {"b": 0}}], "node 0 of 0"),
        (
            [{"kind": 1, "name": "a", "children": {}}, {"kind": 1, "name": "r", "children": {"..": 0}}],
            "no name of a file",
        ),
        (
            [{"kind": 1, "name": "a", "children": {}}, {"kind": 1, "name": "r", "children": {"x": 0, "y": 0}}],
            "in two folders",
        ),
    ],
)
def test_a_list_that_leads_astray_is_named(nodes: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_memory_files(flattened(nodes, b"abc"))


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match="pocketlm export") as caught:
        read_memory_files(memoryview(data))
    assert "\n" not in str(caught.value)
