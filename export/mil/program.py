"""A MIL program as frozen data: functions and operations; read from the bytes of a model.mlmodel.

Field numbers are those of mlmodel/format/MIL.proto and Model.proto of coremltools 9.0. Control flow (operations with
blocks) is refused: no program of ours has any.
"""

from dataclasses import dataclass

from export.mil.values import Constant, Value, read_constant, read_feature, read_named, show
from export.mil.wire import Message

_ML_PROGRAM = 502

Argument = str | Constant  # the name of a value, or the constant itself


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One instruction."""

    kind: str  # "linear"
    name: str
    inputs: dict[str, tuple[Argument, ...]]
    outputs: tuple[Value, ...]
    attributes: dict[str, Constant]  # `val` of a const


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One entry point; `states` keep their content from call to call."""

    name: str
    opset: str
    inputs: tuple[Value, ...]
    states: tuple[Value, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MilProgram:
    """A whole program."""

    spec_version: int  # of the model's format: 9 is iOS 18
    functions: dict[str, Function]
    default_function: str  # what runs when nobody names one

    def function(self, name: str) -> Function:
        """The function of that name.

        Raises:
            ValueError: the program has none.
        """
        if name not in self.functions:
            raise ValueError(f"the program has no function {name!r}; it has {', '.join(self.functions)}")
        return self.functions[name]


def read_program(mlmodel: bytes | memoryview) -> MilProgram:
    """Parses a model.mlmodel.

    Raises:
        ValueError: it is damaged, no ML program, has control flow, or its description contradicts its functions.
    """
    try:
        model = Message(memoryview(mlmodel))
        program = model.message(_ML_PROGRAM)
        if program is None:
            raise ValueError("it is no ML program")
        functions = {name: _function(name, message) for name, message in program.entries(2).items()}
        if not functions:
            raise ValueError("it has no function")
        description = model.message(2) or Message(memoryview(b""))
        default = description.text(21) or "main"
        if default not in functions:
            raise ValueError(f"its default function {default!r} is none of {', '.join(functions)}")
        _check_description(description, functions, default)
        return MilProgram(model.integer(1, "int32"), functions, default)
    except ValueError as error:
        raise ValueError(f"model.mlmodel: {error}; make the package again with `pocketlm export`") from None


def _function(name: str, message: Message) -> Function:
    opset, blocks = message.text(2), message.entries(3)
    if opset not in blocks:
        raise ValueError(f"function {name} names the opset {opset!r}, but has blocks for {list(blocks)}")
    block = blocks[opset]
    inputs: list[Value] = []
    states: list[Value] = []
    for entry in message.messages(1):
        value, is_state = read_named(entry)
        (states if is_state else inputs).append(value)
    operations = tuple(_operation(entry) for entry in block.messages(3))
    function = Function(name, opset, tuple(inputs), tuple(states), operations, block.texts(2))
    _check_names(function)
    return function


def _check_names(function: Function) -> None:
    """Each name is made once, and before it is used."""
    known = {value.name for value in (*function.inputs, *function.states)}
    for operation in function.operations:
        for argument in (a for group in operation.inputs.values() for a in group):
            if isinstance(argument, str) and argument not in known:
                raise ValueError(f"operation {operation.name} ({operation.kind}) reads {argument!r} before it is made")
        for value in operation.outputs:
            if value.name in known:
                raise ValueError(f"operation {operation.name} ({operation.kind}) makes {value.name!r} a second time")
            known.add(value.name)
    for name in function.outputs:
        if name not in known:
            raise ValueError(f"function {function.name} returns {name!r}, which no operation makes")


def _operation(message: Message) -> Operation:
    kind = message.text(1)
    outputs = tuple(_plain(entry) for entry in message.messages(3))
    attributes = {key: read_constant(value) for key, value in message.entries(5).items()}
    label = attributes.pop("name", None)
    name = label.content if label is not None and isinstance(label.content, str) else ""
    name = name or (outputs[0].name if outputs else kind)
    if message.has(4):
        raise ValueError(f"operation {name} ({kind}) has blocks: control flow is not read")
    inputs = {key: tuple(map(_argument, value.messages(1))) for key, value in message.entries(2).items()}
    return Operation(kind, name, inputs, outputs, attributes)


def _argument(binding: Message) -> Argument:
    field = binding.which(1, 2)
    if field == 1:
        return binding.text(1)
    value = binding.message(2)
    if value is None:
        raise ValueError("an operation's input is neither a name nor a constant")
    return read_constant(value)


def _plain(entry: Message) -> Value:
    value, is_state = read_named(entry)
    if is_state:
        raise ValueError(f"an operation makes the state {value.name!r}; only a function's input can be one")
    return value


def _check_description(description: Message, functions: dict[str, Function], default: str) -> None:
    """What the model says of its functions is what they are: Core ML offers the description to the caller."""
    described = {entry.text(1): entry for entry in description.messages(20)} or {default: description}
    names = (2, 3, 6) if description.has(20) else (1, 10, 13)
    for name, entry in described.items():
        if name not in functions:
            raise ValueError(f"it describes the function {name!r}, which it does not have")
        function = functions[name]
        made = {value.name: value for operation in function.operations for value in operation.outputs}
        made |= {value.name: value for value in function.inputs}
        wanted = (function.inputs, tuple(made[output] for output in function.outputs), function.states)
        for field, values in zip(names, wanted, strict=True):
            found = {value.name: value for value in map(read_feature, entry.messages(field))}
            if found.keys() != {value.name for value in values}:
                raise ValueError(
                    f"function {name} is described with {sorted(found)}, but has {[v.name for v in values]}"
                )
            for value in values:
                told = found[value.name]
                if told.dtype != value.dtype or (told.shape != value.shape and None not in value.shape):
                    raise ValueError(f"function {name} describes {value.name} as {show(told)}, but it is {show(value)}")
