"""What `inspect` says of a package, of a bare program, and of programs that are not what they should be."""

import dataclasses
import json
from pathlib import Path

import pytest

from export.byte_map import CATEGORIES, count_bytes
from export.file_weights import read_weights
from export.inspect import inspect_package, inspect_program
from export.integers import compare_integers
from export.manifest import Manifest, parse_manifest
from export.manifest_parts import record_recipe
from export.operators import find_expected, list_operators, unexpected_operators
from export.package import Source, write_package
from export.pte import read_pte
from export.pte_values import KernelCall
from model.errors import GateError
from tests.export.manifest_corpus import endless
from tests.export.small_package import SOURCES, bare_manifest
from tests.export.tiny_programs import big_table, three_layers, tied_float, tied_integer, undelegated


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A real program in a package whose manifest describes it."""
    path = tmp_path_factory.mktemp("inspect") / "package"
    program = three_layers().path
    bare = bare_manifest()
    manifest = dataclasses.replace(
        bare, memory=dataclasses.replace(bare.memory, program_bytes=program.stat().st_size, estimated_peak_bytes=10**7)
    )
    write_package(path, manifest=manifest, files={**SOURCES, "model.pte": Source(role="program", content=program)})
    return path


@pytest.fixture(scope="module")
def report(package):
    return inspect_package(package)


def problems_with(**changes) -> list[str]:
    """What is said of the real program when the manifest claims something else."""
    manifest = dataclasses.replace(parse_manifest(endless()), **changes)
    return list(inspect_program(read_pte(three_layers().path), manifest, source="x", files=()).problems)


def test_a_true_package_has_no_problem(report):
    assert report.problems == ()


def test_every_layer_is_listed_with_the_scheme_of_its_own_bytes(report):
    assert [layer.name for layer in report.layers] == [name for name, _ in three_layers().expected]
    for layer, (name, tensor) in zip(report.layers, three_layers().expected, strict=True):
        assert (layer.scheme, layer.bits, layer.group_size) == (
            tensor.scheme.scheme, tensor.scheme.bits, tensor.scheme.group_size
        ), name
        assert layer.shape == tuple(tensor.codes.shape)
        assert layer.activations == ("float" if name == "embedding" else "int8-dynamic")


def test_the_whole_export_path_keeps_every_integer():
    assert compare_integers(read_pte(three_layers().path), three_layers().expected) == []


def test_caches_are_listed_by_layer_as_the_manifest_says(report):
    said = endless()["cache"]
    assert [(c.slots, c.dtype, c.bytes) for c in report.caches] == [
        (layer["slots"], layer["dtype"], layer["bytes"]) for layer in said["layers"]
    ]
    assert report.cache_bytes == said["bytes"] < report.planned_bytes


def test_context_window_chunk_and_constants_are_told(report):
    assert (report.context, report.window, report.chunk) == ({"kind": "endless", "tokens": 64}, 16, 8)
    assert report.constants["get_eos_ids"] == [2, 3]
    assert report.constants["get_max_seq_len"] == 8


def test_every_instruction_and_node_is_counted_once(report):
    calls = [c for c in read_pte(three_layers().path).method().instructions if isinstance(c, KernelCall)]
    assert sum(use.count for use in report.operators if use.backend == "kernel") == len(calls)
    products = [use.count for use in report.operators if use.operator == "FullyConnected"]
    assert products == [3 * 7 + 1]
    assert all(use.reason for use in report.operators if use.backend == "kernel")


def test_json_holds_all_and_is_json(report):
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert len(data["layers"]) == 23
    assert data["problems"] == []
    assert sum(data["bytes"].values()) == data["program_bytes"]
    assert {f["path"] for f in data["files"]} == set(SOURCES)


def test_lines_name_every_kind_with_its_layers(report):
    text = "\n".join(report.lines())
    assert "attention.q_proj [64, 64]: int4-group in groups of 32, activations int8-dynamic" in text
    assert "feed_forward.down_proj [64, 150]: int8-channel" in text
    assert "(layers 0-2)" in text
    assert "layer 2: 71 slots of int8, 5,964 bytes" in text
    assert report.lines()[-1].startswith("no problem")


def test_a_zip_gives_the_same_report_as_its_folder(package, report, tmp_path):
    manifest = parse_manifest(json.loads((package / "manifest.json").read_text()))
    files = {f.path: Source(role=f.role, content=package / f.path) for f in manifest.files}
    zipped = tmp_path / "package.zip"
    write_package(zipped, manifest=dataclasses.replace(manifest, files=()), files=files, zipped=True)
    again = inspect_package(zipped)
    assert dataclasses.replace(again, source=report.source) == report


def test_a_flipped_byte_in_the_package_fails_before_anything_is_read(package, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    content = bytearray((copy / "model.pte").read_bytes())
    content[-100] ^= 1
    (copy / "model.pte").write_bytes(content)
    with pytest.raises(GateError, match=r"model\.pte is damaged"):
        inspect_package(copy)


# bytes

@pytest.mark.parametrize("lowered", [tied_integer, tied_float, big_table, three_layers, undelegated])
def test_every_byte_of_a_program_is_accounted_for(lowered):
    pte = read_pte(lowered().path)
    counts = count_bytes(pte, read_weights(pte))
    assert tuple(counts) == CATEGORIES
    assert sum(counts.values()) == lowered().path.stat().st_size
    assert counts["other"] == 0
    assert counts["program"] == pte.program_bytes


def test_codes_and_scales_count_what_the_layers_need():
    pte = read_pte(three_layers().path)
    counts = count_bytes(pte, read_weights(pte))
    tensors = dict(three_layers().expected)
    del tensors["head"]  # tied, but too small to be shared: less than a page
    codes = sum(t.codes.numel() * t.scheme.bits // 8 for t in tensors.values())
    twice = tensors["embedding"].codes.numel() // 2
    assert counts["codes"] == codes + twice
    assert counts["float_weights"] == 0


def test_a_shared_table_counts_once(tmp_path):
    from export.dedupe import share_constants

    table = dict(big_table().expected)["head"]
    share_constants(big_table().path, tmp_path / "shared.pte")
    for path, copies in ((big_table().path, 2), (tmp_path / "shared.pte", 1)):
        pte = read_pte(path)
        assert count_bytes(pte, read_weights(pte))["codes"] == copies * table.codes.numel() // 2


# programs that are not what they should be

def test_a_bare_program_of_integers_has_no_problem():
    report = inspect_package(three_layers().path)
    assert report.problems == ()
    assert report.recipe is None
    assert report.layers[1].name.startswith("delegate ")


def test_float_matrices_of_a_bare_program_are_problems():
    problems = inspect_package(tied_float().path).problems
    assert [p.split(":")[1] for p in problems] == [
        " a float matrix [96, 64]", " a float matrix [64, 64]", " a float matrix [96, 64]"
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


def test_arithmetic_on_activations_is_a_problem_and_on_positions_is_not():
    method = read_pte(three_layers().path).method()
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


def recipe_with(manifest: Manifest, name: str, scheme: str):
    bits = {"float": 32, "int4-group": 4, "int8-channel": 8}[scheme]
    layers = {}
    for layer, tensor in three_layers().expected[:-1]:
        group = 32 if tensor.scheme.scheme == "int4-group" else None
        layers[layer] = {"scheme": tensor.scheme.scheme, "bits": tensor.scheme.bits, "group_size": group,
                         "reason": tensor.scheme.reason}
    layers[name] = {"scheme": scheme, "bits": bits, "group_size": 32 if bits == 4 else None, "reason": "a test"}
    return record_recipe("8da4w-g32", group_size=32, layers=layers)


def test_a_layer_of_another_scheme_than_the_manifests_is_named():
    manifest = parse_manifest(endless())
    recipe = recipe_with(manifest, "layers.1.feed_forward.down_proj", "int4-group")
    assert problems_with(recipe=recipe) == [
        "layers.1.feed_forward.down_proj: the file holds int8-channel, the manifest says int4-group in groups of 32"
    ]


def test_the_tied_heads_scheme_is_the_tables():
    manifest = parse_manifest(endless())
    recipe = recipe_with(manifest, "embedding", "int8-channel")
    assert [problem.split(":")[0] for problem in problems_with(recipe=recipe)] == ["embedding", "head"]


def test_a_float_weight_under_an_integer_recipe_is_named():
    """The float program's output layer against a recipe of integers."""
    from export.layer_weights import name_weights, recipe_problems

    pte = read_pte(tied_float().path)
    layers, _ = name_weights(list(read_weights(pte)), None)
    named = [dataclasses.replace(layer, name=name) for layer, name in zip(
        layers, ("embedding", "layers.0.attention.q_proj", "head"), strict=True)]
    assert recipe_problems(named, parse_manifest(endless()).recipe) == [
        f"{name}: the file holds float, the manifest says int4-group in groups of 32"
        for name in ("embedding", "layers.0.attention.q_proj", "head")
    ]


def test_activations_that_stayed_float_are_named():
    from export.layer_weights import name_weights, recipe_problems

    manifest = parse_manifest(endless())
    layers, _ = name_weights(list(read_weights(read_pte(three_layers().path))), manifest.model.config)
    layers[5] = dataclasses.replace(layers[5], activations="float")
    assert recipe_problems(layers, manifest.recipe) == [
        "layers.0.feed_forward.gate_proj: its activations are float, the recipe's int8-dynamic"
    ]


def test_another_model_than_the_manifests_is_told():
    manifest = parse_manifest(endless())
    config = dataclasses.replace(manifest.model.config, num_layers=2, global_layers=(1,))
    problems = problems_with(model=dataclasses.replace(manifest.model, config=config))
    assert "22 linear layers, the manifest's model 1 and 15" in problems[0]
    config = dataclasses.replace(manifest.model.config, num_kv_heads=1)
    problems = problems_with(model=dataclasses.replace(manifest.model, config=config))
    assert "layers.0.attention.k_proj: the file's matrix is [32, 64], the manifest's [16, 64]" in problems


def test_caches_and_numbers_that_differ_from_the_manifest_are_told():
    manifest = parse_manifest(endless())
    layers = (dataclasses.replace(manifest.cache.layers[0], slots=22), *manifest.cache.layers[1:])
    problems = problems_with(cache=dataclasses.replace(manifest.cache, layers=layers, bytes=9827), chunk=7)
    assert problems == [
        "the program keeps 9828 bytes between calls, the manifest says 9827",
        "layer 0: the cache is 23 slots of int8 (1932 bytes), the manifest says 22 of int8 (1932)",
        "the program's get_max_seq_len is 8, the manifest says 7",
    ]


def test_a_file_that_is_no_package_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        inspect_package(tmp_path / "nothing")
    (tmp_path / "x.pte").write_bytes(b"not a program at all")
    with pytest.raises(ValueError, match="not an ExecuTorch program"):
        inspect_package(tmp_path / "x.pte")
