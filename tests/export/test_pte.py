"""Reading `.pte` files and XNNPACK payloads, held against ExecuTorch's own reader."""

from pathlib import Path

import pytest

from export.pte import Pte, read_pte
from export.pte_values import DelegateCall, KernelCall, TensorValue
from export.xnn_payload import read_payload
from tests.export.tiny_programs import DIM, MAX_TOKENS, VOCABULARY, tied_float, tied_integer

DTYPES = {
    "BYTE": "uint8",
    "CHAR": "int8",
    "INT": "int32",
    "LONG": "int64",
    "HALF": "float16",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BOOL": "bool",
}


@pytest.fixture(scope="module")
def pte() -> Pte:
    return read_pte(tied_integer().path)


@pytest.fixture(scope="module")
def official():
    from executorch.exir._serialize._flatbuffer_program import _flatbuffer_to_program

    return _flatbuffer_to_program(tied_integer().path.read_bytes())


def test_every_value_equals_executorchs_own_reading(pte, official):
    plan = official.execution_plan[0]
    ours = pte.method()
    assert len(ours.values) == len(plan.values) > 20
    for mine, theirs in zip(ours.values, (v.val for v in plan.values), strict=True):
        kind = type(theirs).__name__
        if kind == "Tensor":
            assert isinstance(mine, TensorValue)
            assert list(mine.sizes) == theirs.sizes
            assert mine.dtype == DTYPES[theirs.scalar_type.name]
            assert (mine.constant or mine.initial or 0) == theirs.data_buffer_idx
            where = theirs.allocation_info
            assert mine.planned == (where and (where.memory_id, where.memory_offset))
        elif kind in ("Int", "Bool", "Double"):
            assert mine == getattr(theirs, f"{kind.lower()}_val")
        elif kind == "Null":
            assert mine is None
        else:
            assert list(mine.items) == theirs.items


def test_every_instruction_equals_executorchs_own_reading(pte, official):
    plan = official.execution_plan[0]
    names = [".".join(filter(None, (o.name, o.overload))) for o in plan.operators]
    theirs = []
    for instruction in plan.chains[0].instructions:
        call = instruction.instr_args
        if type(call).__name__ == "KernelCall":
            theirs.append(KernelCall(names[call.op_index], tuple(call.args)))
        else:
            assert type(call).__name__ == "DelegateCall"
            theirs.append(DelegateCall(call.delegate_index, tuple(call.args)))
    assert list(pte.method().instructions) == theirs


def test_segments_and_named_data_equal_executorchs_own_reading(pte, official):
    assert [(s.offset - pte.segment_base, s.size) for s in pte.segments] == [
        (s.offset, s.size) for s in official.segments
    ]
    assert pte.named_data == {d.key: d.segment_index for d in official.named_data}
    assert list(pte.constant_offsets) == official.constant_segment.offsets
    assert list(pte.method().buffer_sizes) == official.execution_plan[0].non_const_buffer_sizes
    assert [d.backend for d in pte.method().delegates] == [d.id for d in official.execution_plan[0].delegates]


def test_constant_methods_give_their_values(pte):
    assert pte.constant_methods == {"get_max_seq_len": MAX_TOKENS, "get_n_layers": 1}


def test_the_cache_is_the_only_planned_mutable_buffer(pte):
    method = pte.method()
    assert [method.tensor(i).sizes for i in method.mutable_buffers] == [(1, 12, 1, DIM)]
    assert method.planned_mutable_bytes == 12 * DIM * 4


def test_a_program_without_state_has_no_mutable_bytes():
    assert read_pte(tied_float().path).method().planned_mutable_bytes == 0


def test_a_constant_tensors_bytes_are_the_parameters(pte):
    import torch

    method = pte.method()
    norms = [v for v in method.values if isinstance(v, TensorValue) and v.sizes == (DIM,) and v.constant]
    found = [torch.frombuffer(bytearray(pte.constant(v)), dtype=torch.float32) for v in norms]
    assert any(torch.equal(values, tied_integer().module.norm) for values in found)


def test_an_unknown_method_is_refused_with_the_known_ones(pte):
    with pytest.raises(ValueError, match=r"no method .prefill.; it has .*forward"):
        pte.method("prefill")


def test_payloads_hold_the_products_in_the_order_of_the_program(pte):
    kinds = [
        graph_value.dims
        for delegate in pte.method().delegates
        for graph in [read_payload(delegate.payload)]
        for node in graph.nodes
        if node.kind == "FullyConnected"
        for graph_value in [graph.values[node.inputs[1]]]
    ]
    assert len(kinds) == 5
    assert kinds[-1] == (VOCABULARY, DIM)


def test_payload_nodes_and_values_are_connected(pte):
    for delegate in pte.method().delegates:
        graph = read_payload(delegate.payload)
        assert graph.nodes
        known = set(graph.values)
        for node in graph.nodes:
            assert set(node.inputs) | set(node.outputs) <= known, node
        assert set(graph.inputs) | set(graph.outputs) <= known


def test_payload_equals_flatcs_own_reading(pte, tmp_path):
    """flatc, which wrote the payload, prints the same node kinds and dims from the schema that came with it."""
    import json
    import subprocess
    import sys
    from importlib.resources import files

    schema = tmp_path / "schema.fbs"
    schema.write_bytes(files("executorch.backends.xnnpack.serialization").joinpath("runtime_schema.fbs").read_bytes())
    flatc = Path(str(files("executorch.data.bin").joinpath("flatc")))
    assert flatc.is_file(), sys.version
    for number, delegate in enumerate(pte.method().delegates):
        graph = read_payload(delegate.payload)
        start = int.from_bytes(delegate.payload[10:14], "little")
        binary = tmp_path / f"graph{number}.bin"
        binary.write_bytes(delegate.payload[start : start + graph.table_bytes])
        subprocess.run(
            [flatc, "--json", "--strict-json", "--defaults-json", "--raw-binary", "-o", tmp_path, schema, "--", binary],
            check=True,
        )
        theirs = json.loads((tmp_path / f"graph{number}.json").read_text())
        assert [n["xnode_union_type"].removeprefix("XNN") for n in theirs["xnodes"]] == [n.kind for n in graph.nodes]
        for mine, node in zip(graph.nodes, (n["xnode_union"] for n in theirs["xnodes"]), strict=True):
            assert mine.outputs == (node["output_id"],)
            ids = [node[key] for key in ("input_id", "input1_id", "filter_id", "input2_id", "bias_id") if key in node]
            assert sorted(mine.inputs) == sorted(i for i in ids if i != 2**32 - 1)
        for value in theirs["xvalues"]:
            union = value["xvalue_union"]
            tensor = union.get("tensor_value", union)
            mine_value = graph.values[tensor["id_out"]]
            assert list(mine_value.dims) == tensor.get("dims", [])
            assert f"xnn_datatype_{mine_value.datatype}" == tensor["datatype"]
            assert mine_value.constant == tensor["constant_buffer_idx"]
            if union.get("quant_params_type") == "PerChannelGroupQuant":
                assert mine_value.quantization.group_size == union["quant_params"]["group_size"]
                assert mine_value.quantization.scales_buffer == union["quant_params"]["scale_buffer_idx"]


def _refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "bad.pte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match) as caught:
        read_pte(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pte is missing"):
        read_pte(tmp_path / "none.pte")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        read_pte(tmp_path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip, not a program", b"short", b"\x00" * 100])
def test_what_is_no_program_is_refused(tmp_path, content):
    _refused(tmp_path, content, "is not an ExecuTorch program")


def test_an_empty_file_is_refused(tmp_path):
    _refused(tmp_path, b"", "is empty")


def test_another_version_is_refused_by_number(tmp_path):
    content = bytearray(tied_integer().path.read_bytes())
    content[4:8] = b"ET13"
    _refused(tmp_path, bytes(content), "version ET13; this reads ET12")


@pytest.mark.parametrize("kept", [20, 300, 5000, -1])
def test_a_truncated_file_is_refused(tmp_path, kept):
    _refused(tmp_path, tied_integer().path.read_bytes()[:kept], "copy it again|ends inside")


def test_a_segment_that_leads_outside_is_refused(tmp_path):
    from export.flatbuffer import read_root

    content = bytearray(tied_integer().path.read_bytes())
    field = read_root(memoryview(content)).tables(4)[-1].place(1)
    content[field : field + 8] = (1 << 40).to_bytes(8, "little")
    _refused(tmp_path, bytes(content), "cut off: segment")


def test_flipped_bytes_in_the_tables_never_end_in_anything_but_a_value_error(tmp_path):
    """A damaged program is read or refused with one line; it never crashes, and it never takes long."""
    import random

    content = tied_float().path.read_bytes()
    program_bytes = read_pte(tied_float().path).program_bytes
    random.seed(0)
    path = tmp_path / "bad.pte"
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[random.randrange(program_bytes)] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        try:
            read_pte(path)
        except ValueError:
            refused += 1
    assert refused > 20
