"""The wire reader against google's protobuf: the same bytes say the same; damaged bytes end in a ValueError."""

import struct
from typing import Any

import pytest
from coremltools.proto import MIL_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from export.mil.wire import Message

NUMBERS = {
    FieldDescriptor.TYPE_INT32: ("int32", st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.TYPE_INT64: ("int64", st.integers(-(2**63), 2**63 - 1)),
    FieldDescriptor.TYPE_UINT64: ("uint64", st.integers(0, 2**64 - 1)),
    FieldDescriptor.TYPE_BOOL: ("bool", st.booleans()),
    FieldDescriptor.TYPE_ENUM: ("int64", st.sampled_from([0, 1, 2, 10, 11, 23, 25])),
    FieldDescriptor.TYPE_FLOAT: ("float", st.floats(width=32, allow_nan=False)),
    FieldDescriptor.TYPE_DOUBLE: ("double", st.floats(allow_nan=False)),
}
BYTES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def fill(draw: Any, message: Any, depth: int) -> Any:
    """Puts drawn values into some of a message's fields."""
    descriptor: Descriptor = message.DESCRIPTOR
    oneofs = {oneof.name: draw(st.sampled_from([field.name for field in oneof.fields])) for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        skipped = field.containing_oneof is not None and oneofs[field.containing_oneof.name] != field.name
        if skipped or not draw(st.booleans()) or (field.message_type and depth == 0):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            for key in draw(st.lists(st.text(max_size=4), max_size=2, unique=True)):
                fill(draw, getattr(message, field.name)[key], depth - 1)
        elif field.message_type and field.is_repeated:
            for _ in range(draw(st.integers(0, 2))):
                fill(draw, getattr(message, field.name).add(), depth - 1)
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(draw, getattr(message, field.name), depth - 1)
        else:
            values = one_value(field)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(values, max_size=5)))
            else:
                setattr(message, field.name, draw(values))
    return message


def one_value(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=12)
    return st.binary(max_size=12) if field.type == FieldDescriptor.TYPE_BYTES else NUMBERS[field.type][1]


def assert_same(theirs: Any, ours: Message) -> None:
    for field in theirs.DESCRIPTOR.fields:
        value, number = getattr(theirs, field.name), field.number
        if field.message_type and field.message_type.GetOptions().map_entry:
            entries = ours.entries(number)
            assert set(entries) == set(value)
            for key in value:
                assert_same(value[key], entries[key])
        elif field.message_type and field.is_repeated:
            assert len(ours.messages(number)) == len(value)
            for mine, their in zip(ours.messages(number), value, strict=True):
                assert_same(their, mine)
        elif field.message_type:
            message = ours.message(number)
            assert (message is not None) == theirs.HasField(field.name)
            if message is not None:
                assert_same(value, message)
        elif field.type in BYTES:
            if field.is_repeated:
                assert ours.texts(number) == tuple(value)
            elif field.type == FieldDescriptor.TYPE_STRING:
                assert ours.text(number) == value
            else:
                assert bytes(ours.content(number)) == value
        elif field.is_repeated:
            assert ours.numbers(number, NUMBERS[field.type][0]) == tuple(value)  # type: ignore[arg-type]
        else:
            assert ours.integer(number, NUMBERS[field.type][0]) == value  # type: ignore[arg-type]


@st.composite
def operations(draw: Any) -> Any:
    return fill(draw, draw(st.sampled_from([MIL_pb2.Operation, MIL_pb2.Value, MIL_pb2.TensorValue]))(), 7)


@settings(max_examples=150)
@given(operations())
def test_every_field_reads_as_protobuf_reads_it(message: Any) -> None:
    assert_same(message, Message(memoryview(message.SerializeToString())))


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_any_bytes_are_fields_or_a_one_line_value_error(data: bytes) -> None:
    try:
        message = Message(memoryview(data))
        for number in range(1, 8):
            message.numbers(number, "int32")
    except ValueError as error:
        assert str(error) and "\n" not in str(error)


@settings(max_examples=60)
@given(operations(), st.data())
def test_what_is_cut_off_inside_a_field_is_refused(message: Any, data: Any) -> None:
    content = message.SerializeToString()
    cut = data.draw(st.integers(0, len(content)))
    try:
        found = Message(memoryview(content[:cut]))
    except ValueError:
        return
    assert_same(type(message).FromString(content[:cut]), found)  # it was cut between two fields


def test_numbers_one_a_field_read_like_packed_ones() -> None:
    packed = MIL_pb2.TensorValue.RepeatedInts(values=[1, -2, 300]).SerializeToString()
    ours = Message(memoryview(packed)).numbers(1, "int32")
    apart = b"\x08\x01" + b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x08\xac\x02"
    assert list(MIL_pb2.TensorValue.RepeatedInts.FromString(apart).values) == [1, -2, 300]
    assert Message(memoryview(apart)).numbers(1, "int32") == ours == (1, -2, 300)
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (0.5, -2.0))
    assert Message(memoryview(floats)).numbers(1, "float") == (0.5, -2.0)


def test_the_parts_of_a_message_are_one_message() -> None:
    first, second = MIL_pb2.Argument(), MIL_pb2.Argument()
    first.arguments.add().name = "a"
    second.arguments.add().name = "b"
    parts = b"".join(
        b"\x12" + bytes([len(part)]) + part for part in (first.SerializeToString(), second.SerializeToString())
    )
    merged = Message(memoryview(parts)).message(2)
    assert merged is not None
    assert [binding.text(1) for binding in merged.messages(1)] == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x00\x01", "number 0"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x08", "end inside a number"),
        (b"\x08" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x12\x05abc", "ends at byte 7 of a message of 5"),
        (b"\x0d\x00\x00", "ends at byte 5"),
    ],
)
def test_bytes_that_are_no_message_are_named(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Message(memoryview(data))


def test_a_field_of_another_wire_type_a_double_key_and_two_of_a_oneof_are_refused() -> None:
    with pytest.raises(ValueError, match="wire type"):
        Message(memoryview(b"\x08\x01")).text(1)
    with pytest.raises(ValueError, match="twice"):
        Message(memoryview(b"\x12\x03\x0a\x01k" * 2)).entries(2)
    with pytest.raises(ValueError, match="exclude each other"):
        Message(memoryview(b"\x08\x01\x10\x01")).which(1, 2)
    with pytest.raises(ValueError, match="UTF-8"):
        Message(memoryview(b"\x0a\x01\xff")).text(1)
