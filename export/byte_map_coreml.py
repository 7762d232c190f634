"""Says of every byte of a `.pte` for Core ML what it is for; the counts add up to the file's size."""

from collections.abc import Iterator

from export.byte_map import Stretch, address, count_stretches
from export.coreml_weights import blob_constants, read_coreml_constants
from export.mil.container import CoremlFile, MethodModel
from export.mil.memory_files import read_memory_files
from export.mil.values import Blob

# In order of precedence: bytes that serve twice count once, under the first name.
COREML_CATEGORIES = (
    "codes",
    "scales",
    "float_weights",
    "norms",
    "constants",
    "weight_headers",
    "mil_program",
    "package_metadata",
    "program",
    "padding",
    "other",
)
_BLOB_HEADER = 64  # bytes before each constant, and at the start of the file
_REFERENCE = b"CMJR"  # in place of a package that another method holds
_WEIGHTS = "/weight.bin"


def count_coreml_bytes(file: CoremlFile) -> dict[str, int]:
    """Bytes of each of `COREML_CATEGORIES`.

    `norms` are vectors that something is multiplied by, `constants` every other one in the file of weights,
    `weight_headers` what stands before each of them, `mil_program` the instructions of all methods,
    `package_metadata` the lists of files and names around them, `program` the `.pte`'s own header and tables, `padding`
    zeros between all these, `other` what nothing points to.
    """
    return count_stretches(file.pte.data, _stretches(file), COREML_CATEGORIES)


def _stretches(file: CoremlFile) -> Iterator[Stretch]:
    base = address(file.pte.data)

    def stretch(content: memoryview, category: str) -> Stretch:
        start = address(content) - base
        return start, start + len(content), category

    yield 0, file.pte.program_bytes, "program"
    for payload in _payloads(file):
        if bytes(payload[: len(_REFERENCE)]) == _REFERENCE:
            yield stretch(payload, "package_metadata")
            continue
        end, last = stretch(payload, "package_metadata")[1], 0
        for path, content in read_memory_files(payload).items():
            if len(content):
                found = stretch(content, "mil_program" if path.endswith(".mlmodel") else "package_metadata")
                last = max(last, found[1])
                if not path.endswith(_WEIGHTS):
                    yield found
        yield last, end, "package_metadata"  # the list of files
    for model in file.methods.values():
        weights = model.weights.data
        yield stretch(weights[:_BLOB_HEADER], "weight_headers")
        for offset, category, content in _constants(model):
            yield stretch(weights[offset : offset + _BLOB_HEADER], "weight_headers")
            yield stretch(content, category)


def _payloads(file: CoremlFile) -> Iterator[memoryview]:
    """What the delegates are handed: references, and packages."""
    for model in file.methods.values():
        yield from (delegate.payload for delegate in model.method.delegates)
    yield from (file.pte.named(key) for key in file.pte.named_data)


def _constants(model: MethodModel) -> Iterator[tuple[int, str, memoryview]]:
    """Every constant in the file of weights: offset of its header, category, content."""
    found = read_coreml_constants(model)
    known: dict[int, str] = {}
    for weight in (*found.gathers, *found.linears):
        codes, scales = weight.place
        known[codes] = "float_weights" if weight.kind == "float" else "codes"
        if scales is not None:
            known[scales] = "scales"
    known |= {vector.offset: "norms" for vector in found.vectors if vector.kind == "mul"}
    for constant in blob_constants(model):
        place = constant.content
        assert isinstance(place, Blob)
        content = model.weights.content(place.offset, constant.dtype, constant.shape)
        yield place.offset, known.get(place.offset, "constants"), content
