"""What `inspect` says of a package, of a bare program, and of programs that are not what they should be."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from export.byte_map import CATEGORIES, count_bytes
from export.dedupe import share_constants
from export.export import expected_weights
from export.file_weights import read_weights
from export.inspect import Report, inspect_package, inspect_program
from export.integers import compare_integers
from export.layer_weights import name_weights, recipe_problems
from export.manifest import Manifest, read_manifest
from export.manifest_parts import LayerException, RecipeRecord
from export.operators import find_expected, list_operators, unexpected_operators
from export.package import Source, write_package
from export.pte import Pte, read_pte
from export.pte_values import KernelCall
from model.errors import GateError
from quant.integers import QuantizedTensor
from tests.export.tiny_programs import big_table, tied_float, tied_integer, undelegated


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A package that the export made, opened, with its checkpoint's matrices."""

    package: Path
    manifest: Manifest
    pte: Pte
    expected: list[tuple[str, QuantizedTensor | Tensor]]

    def problems_with(self, **changes) -> list[str]:
        """What is said of the program when the manifest claims something else."""
        manifest = dataclasses.replace(self.manifest, **changes)
        return list(inspect_program(self.pte, manifest, source="x", files=()).problems)


def subject_of(made) -> Subject:
    return Subject(
        package=made.package,
        manifest=read_manifest((made.package / "manifest.json").read_bytes()),
        pte=read_pte(made.package / "model.pte"),
        expected=[(name, layer() if callable(layer) else layer) for name, layer in expected_weights(made.checkpoint)],
    )


@pytest.fixture(scope="module")
def other(other_int4) -> Subject:
    """Two layers, an untied head, down_proj in INT8 because K = 80."""
    return subject_of(other_int4)


@pytest.fixture(scope="module")
def tied(tiny_int4) -> Subject:
    return subject_of(tiny_int4)


@pytest.fixture(scope="module")
def report(other) -> Report:
    return inspect_package(other.package)


def test_a_true_package_has_no_problem(report):
    assert report.problems == ()


@pytest.mark.parametrize("made", ["tiny_int4", "tiny_float", "tiny_bounded"])
def test_every_other_package_of_the_export_has_no_problem(made, request):
    assert inspect_package(request.getfixturevalue(made).package).problems == ()


def test_every_layer_is_listed_with_the_scheme_of_its_own_bytes(report, other):
    assert [layer.name for layer in report.layers] == [name for name, _ in other.expected]
    for layer, (name, tensor) in zip(report.layers, other.expected, strict=True):
        assert (layer.scheme, layer.bits, layer.group_size) == (
            tensor.scheme.scheme,
            tensor.scheme.bits,
            tensor.scheme.group_size,
        ), name
        assert layer.shape == tuple(tensor.codes.shape)
        assert layer.activations == ("float" if name == "embedding" else "int8-dynamic")
    assert {layer.scheme for layer in report.layers} == {"int4-group", "int8-channel"}


def test_the_whole_export_path_keeps_every_integer(other, tied):
    for subject in (other, tied):
        assert compare_integers(subject.pte, subject.expected) == []


def test_caches_are_listed_by_layer_as_the_manifest_says(report, other):
    said = other.manifest.cache
    assert [(c.slots, c.dtype, c.bytes) for c in report.caches] == [(c.slots, c.dtype, c.bytes) for c in said.layers]
    assert len(report.caches) == 2
    assert report.cache_bytes == said.bytes < report.planned_bytes


def test_context_window_chunk_and_constants_are_told(report, other):
    context = {"kind": other.manifest.context.kind, "tokens": other.manifest.context.tokens}
    assert (report.context, report.window, report.chunk) == (context, other.manifest.window, other.manifest.chunk)
    assert report.constants["get_max_seq_len"] == other.manifest.chunk
    assert report.constants["get_max_context_len"] == other.manifest.context.tokens


def test_every_instruction_and_node_is_counted_once(report, other):
    calls = [c for c in other.pte.method().instructions if isinstance(c, KernelCall)]
    assert sum(use.count for use in report.operators if use.backend == "kernel") == len(calls)
    products = [use.count for use in report.operators if use.operator == "FullyConnected"]
    assert products == [2 * 7 + 1]
    assert all(use.reason for use in report.operators if use.backend == "kernel")


def test_json_holds_all_and_is_json(report, other):
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert len(data["layers"]) == 2 * 7 + 2
    assert data["problems"] == []
    assert sum(data["bytes"].values()) == data["program_bytes"]
    assert {f["path"] for f in data["files"]} == {f.path for f in other.manifest.files}


def test_lines_name_every_kind_with_its_layers(report):
    text = "\n".join(report.lines())
    assert "attention.q_proj [128, 64]: int4-group in groups of 32, activations int8-dynamic" in text
    assert "feed_forward.down_proj [64, 80]: int8-channel, activations int8-dynamic" in text
    assert "(layers 0-1)" in text
    assert f"layer 1: {report.caches[1].slots} slots of int8, {report.caches[1].bytes:,} bytes" in text
    assert report.lines()[-1].startswith("no problem")


def test_a_zip_gives_the_same_report_as_its_folder(other, report, tmp_path):
    files = {f.path: Source(role=f.role, content=other.package / f.path) for f in other.manifest.files}
    zipped = tmp_path / "package.zip"
    write_package(zipped, manifest=dataclasses.replace(other.manifest, files=()), files=files, zipped=True)
    again = inspect_package(zipped)
    assert dataclasses.replace(again, source=report.source) == report


def test_a_flipped_byte_in_the_package_fails_before_anything_is_read(other, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(other.package, copy)
    content = bytearray((copy / "model.pte").read_bytes())
    content[-100] ^= 1
    (copy / "model.pte").write_bytes(content)
    with pytest.raises(GateError, match=r"model\.pte is damaged"):
        inspect_package(copy)


# bytes


@pytest.mark.parametrize("lowered", [tied_integer, tied_float, big_table, undelegated, "other", "tied"])
def test_every_byte_of_a_program_is_accounted_for(lowered, request):
    pte = request.getfixturevalue(lowered).pte if isinstance(lowered, str) else read_pte(lowered().path)
    counts = count_bytes(pte, read_weights(pte))
    assert tuple(counts) == CATEGORIES
    assert sum(counts.values()) == pte.path.stat().st_size
    assert counts["other"] == 0
    assert counts["program"] == pte.program_bytes


@pytest.mark.parametrize("name", ["other", "tied"])
def test_codes_count_what_the_layers_need_and_a_tied_table_once(name, request):
    subject = request.getfixturevalue(name)
    counts = count_bytes(subject.pte, read_weights(subject.pte))
    tensors = dict(subject.expected)
    if name == "tied":
        del tensors["head"]
    assert counts["codes"] == sum(t.codes.numel() * t.scheme.bits // 8 for t in tensors.values())
    assert counts["float_weights"] == 0


def test_a_shared_table_counts_once(tmp_path):
    table = dict(big_table().expected)["head"]
    share_constants(big_table().path, tmp_path / "shared.pte")
    for path, copies in ((big_table().path, 2), (tmp_path / "shared.pte", 1)):
        pte = read_pte(path)
        assert count_bytes(pte, read_weights(pte))["codes"] == copies * table.codes.numel() // 2


# programs that are not what they should be


def test_a_bare_program_of_integers_has_no_problem(other):
    report = inspect_package(other.package / "model.pte")
    assert report.problems == ()
    assert report.recipe is None
    assert report.layers[1].name.startswith("delegate ")


def test_float_matrices_of_a_bare_program_are_problems():
    problems = inspect_package(tied_float().path).problems
    assert [p.split(":")[1] for p in problems] == [
        " a float matrix [96, 64]",
        " a float matrix [64, 64]",
        " a float matrix [96, 64]",
    ]


def test_undelegated_products_are_problems_with_their_count():
    report = inspect_package(undelegated().path)
    assert any("2 matrix products run outside of the delegate" in problem for problem in report.problems)
    assert report.delegates == {}


def test_an_operator_without_a_reason_is_a_problem():
    """tied_integer sums its whole cache with a portable kernel."""
    pte = read_pte(tied_integer().path)
    assert unexpected_operators(pte.method()) == [
        "1 x aten::sum.IntList_out has no reason to run outside of the delegate (the first makes [])"
    ]
    assert [use.operator for use in list_operators(pte.method()) if use.backend == "kernel" and not use.reason] == [
        "aten::sum.IntList_out"
    ]


def test_arithmetic_on_activations_is_a_problem_and_on_positions_is_not(other):
    method = other.pte.method()
    assert unexpected_operators(method) == []
    wide = next(i for i, v in enumerate(method.values) if len(getattr(v, "sizes", ())) == 3)
    added = dataclasses.replace(method, instructions=(*method.instructions, KernelCall("aten::add.out", (wide, wide))))
    assert len(problems := unexpected_operators(added)) == 1
    assert "1 x aten::add.out computes on activations outside of the delegate" in problems[0]


def test_expected_operators_are_found_with_and_without_overload():
    assert find_expected("llama::custom_sdpa.out") is find_expected("llama::custom_sdpa") is not None
    assert find_expected("executorch_prim::et_view.default") is not None
    for product in ("mm", "bmm", "addmm", "linear", "matmul", "convolution", "gelu", "rsqrt", "sigmoid"):
        assert find_expected(f"aten::{product}.out") is None


def recipe_with(subject: Subject, name: str, scheme: str) -> RecipeRecord:
    """The manifest's recipe, but with one layer said to be of another scheme."""
    bits = {"int4-group": 4, "int8-channel": 8}[scheme]
    changed = LayerException(scheme=scheme, bits=bits, group_size=32 if bits == 4 else None, reason="a test")
    recipe = subject.manifest.recipe
    return dataclasses.replace(recipe, exceptions={**recipe.exceptions, name: changed})


def test_a_layer_of_another_scheme_than_the_manifests_is_named(other):
    assert other.problems_with(recipe=recipe_with(other, "layers.1.feed_forward.down_proj", "int4-group")) == [
        "layers.1.feed_forward.down_proj: the file holds int8-channel, the manifest says int4-group in groups of 32"
    ]


def test_a_tied_heads_scheme_is_the_tables_and_an_untied_ones_its_own(other, tied):
    for subject, named in ((tied, ["embedding", "head"]), (other, ["embedding"])):
        problems = subject.problems_with(recipe=recipe_with(subject, "embedding", "int8-channel"))
        assert [problem.split(":")[0] for problem in problems] == named


def test_a_float_program_under_an_integer_recipe_has_every_layer_named(tiny_float, tied):
    program = read_pte(tiny_float.package / "model.pte")
    problems = inspect_program(program, tied.manifest, source="x", files=()).problems
    named = [line.split(":")[0] for line in problems if "the file holds float, the manifest says int4-group" in line]
    assert named == [name for name, _ in tied.expected]


def test_activations_that_stayed_float_are_named(other):
    layers, _ = name_weights(list(read_weights(other.pte)), other.manifest.model.config)
    layers[5] = dataclasses.replace(layers[5], activations="float")
    assert recipe_problems(layers, other.manifest.recipe) == [
        "layers.0.feed_forward.gate_proj: its activations are float, the recipe's int8-dynamic"
    ]


def test_another_model_than_the_manifests_is_told(other):
    model = other.manifest.model
    fewer = dataclasses.replace(model.config, num_layers=1, global_layers=(), no_rope_layers=())
    problems = other.problems_with(model=dataclasses.replace(model, config=fewer))
    assert "15 linear layers, the manifest's model 1 and 8" in problems[0]
    narrower = dataclasses.replace(model.config, num_kv_heads=1)
    problems = other.problems_with(model=dataclasses.replace(model, config=narrower))
    assert "layers.0.attention.k_proj: the file's matrix is [64, 64], the manifest's [32, 64]" in problems


def test_caches_and_numbers_that_differ_from_the_manifest_are_told(other):
    cache = other.manifest.cache
    first = cache.layers[0]
    layers = (dataclasses.replace(first, slots=first.slots - 1), *cache.layers[1:])
    chunk = other.manifest.chunk
    assert other.problems_with(cache=dataclasses.replace(cache, layers=layers, bytes=1), chunk=chunk - 1) == [
        f"the program keeps {cache.bytes} bytes between calls, the manifest says 1",
        f"layer 0: the cache is {first.slots} slots of int8 ({first.bytes} bytes), the manifest says "
        f"{first.slots - 1} of int8 ({first.bytes})",
        f"the program's get_max_seq_len is {chunk}, the manifest says {chunk - 1}",
    ]


def test_a_file_that_is_no_package_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        inspect_package(tmp_path / "nothing")
    (tmp_path / "x.pte").write_bytes(b"not a program at all")
    with pytest.raises(ValueError, match="not an ExecuTorch program"):
        inspect_package(tmp_path / "x.pte")
