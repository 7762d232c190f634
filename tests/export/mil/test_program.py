"""The program's reader against protobuf's parse of the same bytes, and what damaged or odd programs say."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from coremltools.proto import MIL_pb2, Model_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.mil.program import MilProgram, Operation, read_program
from export.mil.values import DTYPES, Blob, Constant
from tests.export.mil.small_models import Change, main_block, program_of, spec_of
from tests.packages import Made


@pytest.fixture(scope="module")
def spec(tiny_ane: Made) -> Any:
    return spec_of(tiny_ane.package / "model.pte")


@pytest.fixture(scope="module")
def stateful(tiny_stateful: Made) -> Any:
    return spec_of(tiny_stateful.package / "model.pte")


def shape_of(kind: Any) -> tuple[str, tuple[int | None, ...]]:
    tensor = kind.stateType.wrappedType.tensorType if kind.HasField("stateType") else kind.tensorType
    sizes = tuple(d.constant.size if d.HasField("constant") else None for d in tensor.dimensions)
    return DTYPES[tensor.dataType], sizes


def assert_constant(theirs: Any, ours: Constant) -> None:
    assert (ours.dtype, ours.shape) == shape_of(theirs.type)
    if theirs.HasField("blobFileValue"):
        assert ours.content == Blob(theirs.blobFileValue.fileName, theirs.blobFileValue.offset)
        return
    tensor = theirs.immediateValue.tensor
    values = getattr(tensor, tensor.WhichOneof("value")).values
    if ours.dtype == "string":
        assert ours.content == values[0]
    elif isinstance(values, bytes):
        assert isinstance(ours.content, np.ndarray) and ours.content.tobytes() == values
    else:
        assert isinstance(ours.content, np.ndarray) and ours.content.ravel().tolist() == list(values)


def assert_operation(theirs: Any, ours: Operation) -> None:
    assert ours.kind == theirs.type
    assert ours.name == theirs.attributes["name"].immediateValue.tensor.strings.values[0]
    assert [(v.name, v.dtype, v.shape) for v in ours.outputs] == [(v.name, *shape_of(v.type)) for v in theirs.outputs]
    assert ours.inputs.keys() == theirs.inputs.keys()
    assert ours.attributes.keys() == theirs.attributes.keys() - {"name"}
    for key, constant in ours.attributes.items():
        assert_constant(theirs.attributes[key], constant)
    for key, arguments in ours.inputs.items():
        for mine, binding in zip(arguments, theirs.inputs[key].arguments, strict=True):
            if isinstance(mine, str):
                assert mine == binding.name
            else:
                assert_constant(binding.value, mine)


@pytest.mark.parametrize("which", ["spec", "stateful"])
def test_every_operation_reads_as_protobuf_reads_it(which: str, request: pytest.FixtureRequest) -> None:
    theirs = request.getfixturevalue(which)
    ours = program_of(theirs)
    assert ours.spec_version == theirs.specificationVersion == 9
    assert ours.functions.keys() == theirs.mlProgram.functions.keys()
    for name, function in ours.functions.items():
        other = theirs.mlProgram.functions[name]
        block = other.block_specializations[other.opset]
        values = [(v.name, v.dtype, v.shape) for v in (*function.inputs, *function.states)]
        assert values == sorted(
            ((v.name, *shape_of(v.type)) for v in other.inputs), key=lambda v: [n for n, *_ in values].index(v[0])
        )
        assert function.outputs == tuple(block.outputs)
        for mine, their in zip(function.operations, block.operations, strict=True):
            assert_operation(their, mine)


def test_states_are_kept_apart_from_inputs(stateful: Any) -> None:
    (function,) = program_of(stateful).functions.values()
    assert len(function.states) == 4 and all(state.dtype == "float16" for state in function.states)  # k and v, 2 layers


def swap(spec: Any) -> None:
    operations = main_block(spec).operations
    last = copy.deepcopy(operations[-1])
    del operations[-1]
    operations.insert(0, last)


def blocks(spec: Any) -> None:
    main_block(spec).operations[-1].blocks.add()


def twice(spec: Any) -> None:
    operations = main_block(spec).operations
    operations.append(copy.deepcopy(operations[-1]))


def untyped(spec: Any) -> None:
    main_block(spec).operations[-1].outputs[0].type.tensorType.dataType = 99


def listed(spec: Any) -> None:
    main_block(spec).operations[-1].outputs[0].type.listType.SetInParent()


def ranked(spec: Any) -> None:
    main_block(spec).operations[-1].outputs[0].type.tensorType.rank = 3


def short(spec: Any) -> None:
    kinds = [o for o in main_block(spec).operations if o.type == "const"]
    constant = next(o for o in kinds if o.attributes["val"].immediateValue.tensor.HasField("ints"))
    constant.attributes["val"].immediateValue.tensor.ints.values.append(1)


def unnamed(spec: Any) -> None:
    main_block(spec).outputs.append("nobody")


def renamed(spec: Any) -> None:
    spec.description.functions[0].input[0].name = "somebody"


def reshaped(spec: Any) -> None:
    spec.description.functions[0].input[0].type.multiArrayType.shape[0] = 5


def opset(spec: Any) -> None:
    spec.mlProgram.functions["forward"].opset = "CoreML99"


def default(spec: Any) -> None:
    spec.description.defaultFunctionName = "main"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (swap, "before it is made"),
        (blocks, "control flow"),
        (twice, "a second time"),
        (untyped, "unknown type 99"),
        (listed, "no tensor"),
        (ranked, "rank 3 has 2 dimensions"),
        (short, "elements"),
        (unnamed, "returns 'nobody'"),
        (renamed, "'somebody'"),
        (reshaped, "but it is"),
        (opset, "names the opset 'CoreML99'"),
        (default, "default function 'main'"),
        (lambda spec: spec.ClearField("mlProgram"), "no ML program"),
        (lambda spec: spec.mlProgram.functions.clear(), "no function"),
    ],
)
def test_a_program_that_contradicts_itself_is_refused_with_the_reason(spec: Any, change: Change, sentence: str) -> None:
    other = Model_pb2.Model.FromString(spec.SerializeToString())
    change(other)
    with pytest.raises(ValueError, match=rf"^model\.mlmodel: .*{sentence}"):
        program_of(other)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_are_a_program_or_a_one_line_value_error(spec: Any, data: Any) -> None:
    content = bytearray(spec.SerializeToString())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(read_program(bytes(content)), MilProgram)
    except ValueError as error:
        assert str(error).startswith("model.mlmodel: ") and "\n" not in str(error)


def test_constants_in_the_program_keep_their_numbers() -> None:
    def constant(data_type: int, shape: tuple[int, ...], fill: Callable[[Any], None]) -> Any:
        value = MIL_pb2.Value()
        value.type.tensorType.dataType, value.type.tensorType.rank = data_type, len(shape)
        for size in shape:
            value.type.tensorType.dimensions.add().constant.size = size
        fill(value.immediateValue.tensor)
        return value

    from export.mil.values import read_constant
    from export.mil.wire import Message

    half = np.array([1.5, -2.0], dtype=np.float16)
    cases = [
        (10, (2,), lambda t: setattr(t.bytes, "values", half.tobytes()), half),
        (11, (2, 1), lambda t: t.floats.values.extend([0.5, -1]), np.float32([[0.5], [-1]])),
        (23, (), lambda t: t.ints.values.append(-7), np.int32(-7)),
        (1, (2,), lambda t: t.bools.values.extend([True, False]), np.array([True, False])),
        (21, (3,), lambda t: setattr(t.bytes, "values", b"\x01\xff\x80"), np.int8([1, -1, -128])),
        (32, (1,), lambda t: setattr(t.bytes, "values", b"\x01\x02"), np.uint16([513])),
    ]
    for data_type, shape, fill, expected in cases:
        found = read_constant(Message(memoryview(constant(data_type, shape, fill).SerializeToString()))).content
        assert isinstance(found, np.ndarray) and np.array_equal(found, expected) and found.shape == shape
    odd = constant(10, (2,), lambda t: setattr(t.bytes, "values", b"abc"))
    with pytest.raises(ValueError, match="3 bytes"):
        read_constant(Message(memoryview(odd.SerializeToString())))
