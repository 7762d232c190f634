"""Small models for Core ML made by coremltools itself, and a way to change a package's program inside of its `.pte`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coremltools.proto import Model_pb2

from export.mil.container import open_coreml
from export.mil.memory_files import read_memory_files
from export.mil.program import MilProgram, read_program

Change = Callable[[Any], None]  # of a Model


def convert(program: Any, *, half: bool = True) -> tuple[bytes, bytes]:
    """(model.mlmodel, weight.bin) of a program built with coremltools' builder."""
    import coremltools as ct

    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        skip_model_load=True,
        pass_pipeline=ct.PassPipeline.EMPTY,
    )
    weights = Path(model.weights_dir or "") / "weight.bin"
    return model.get_spec().SerializeToString(), weights.read_bytes() if weights.is_file() else b"\2".ljust(64, b"\0")


def program_of(spec: Any) -> MilProgram:
    return read_program(spec.SerializeToString())


def spec_of(pte: Path) -> Any:
    """The model inside a `.pte`, as protobuf reads it."""
    (files,) = open_coreml(pte).packages.values()
    content = next(data for path, data in files.items() if path.endswith(".mlmodel"))
    return Model_pb2.Model.FromString(bytes(content))


def main_block(spec: Any, function: str = "forward") -> Any:
    """The operations of a function, to be changed."""
    found = spec.mlProgram.functions[function]
    return found.block_specializations[found.opset]


def changed(pte: Path, out: Path, change: Change) -> Path:
    """A copy of a `.pte` with another model inside, as long as the old one: room comes from what says who made it."""
    data = bytearray(pte.read_bytes())
    (files,) = open_coreml(pte).packages.values()
    content = bytes(next(content for path, content in files.items() if path.endswith(".mlmodel")))
    spec = Model_pb2.Model.FromString(content)
    spec.description.ClearField("metadata")
    spec.mlProgram.attributes.clear()
    change(spec)
    made = spec.SerializeToString(deterministic=True)
    at = data.index(content)
    data[at : at + len(content)] = padded(made, len(content))
    out.write_bytes(data)
    return out


def padded(message: bytes, size: int) -> bytes:
    """The message with a field that readers skip (number 2047, bytes), as long as `size`."""
    missing = size - len(message)
    for width in (1, 2, 3, 4):
        length = missing - 2 - width
        if 0 <= length < 1 << 7 * width:
            number = bytes((length >> 7 * i & 0x7F) | (0x80 if i < width - 1 else 0) for i in range(width))
            return message + b"\xfa\x7f" + number + bytes(length)
    assert not missing, f"{len(message)} bytes cannot become {size}"
    return message


def weights_place(pte: Path) -> tuple[int, int]:
    """(start, end) of weight.bin in the file."""
    (files,) = open_coreml(pte).packages.values()
    content = bytes(next(data for path, data in files.items() if path.endswith("weight.bin")))
    at = pte.read_bytes().index(content)
    return at, at + len(content)


def repacked(payload: bytes, change: Callable[[dict[str, bytes]], None], folder: Path) -> bytes:
    """A delegate's bytes with other files in it, flattened by ExecuTorch's own code."""
    from executorch.backends.apple.coreml import executorchcoreml

    files = {path: bytes(content) for path, content in read_memory_files(memoryview(payload)).items()}
    change(files)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    flat: bytes = executorchcoreml.flatten_directory_contents(str(folder))
    return flat


def with_json(content: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(content) | changes).encode()
