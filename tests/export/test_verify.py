"""A package against the checkpoint that it was made of: what is equal passes, and one changed number is named."""

import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch

from export import checkpoint_weights
from export.certificate import FORMAT
from export.file_weights import read_weights
from export.float_constants import read_floats
from export.package_zip import write_zip
from export.pte import Pte, read_pte
from export.verify import compare_package, verify_package
from model.errors import GateError
from model.files import read_json
from quant.checkpoint import load_quantized, quantize_checkpoint
from quant.integers import QuantizedTensor
from tests.export.changed_package import change_checkpoint, change_json, change_program, find_weight, flip, place_of
from tests.packages import TINY, Made, make_checkpoint

Q0, GATE1 = "layers.0.attention.q_proj", "layers.1.feed_forward.gate_proj"


def trained(made: Made, out: Path, *, learned: bool = True, change=lambda tensors: None) -> Path:
    """The same float weights as training under the recipe would leave them, the grid in tensors of its own."""
    quantization = read_json(made.checkpoint / "checkpoint.json")["quantization"]

    def add_scales(tensors):
        if learned:
            for name, tensor in load_quantized(made.checkpoint).items():
                if isinstance(tensor, QuantizedTensor):
                    tensors[f"{name}.weight_scale"] = tensor.scales.float()
        change(tensors)

    info = {"trained_for": quantization, "learned_scales": learned}
    return change_checkpoint(made.source, out, add_scales, info)


def problems(package: Path, checkpoint: Path) -> list[str]:
    """What the comparison says, after a look that the error says it, too."""
    found = list(compare_package(package, checkpoint).problems)
    with pytest.raises(GateError) as raised:
        verify_package(package, checkpoint)
    assert found[0] in str(raised.value)
    return found


def named(lines: list[str]) -> list[str]:
    """The layers that problems begin with."""
    return [line.split(":")[0] for line in lines]


def table(package: Path):
    """The program and its gather table."""
    pte = read_pte(package / "model.pte")
    return pte, next(weight for weight in read_weights(pte) if weight.delegate is None)


def head_scales(pte: Pte) -> int:
    """Where XNNPACK's scales of the output layer begin."""
    return place_of(pte, list(read_weights(pte))[-1].scale_content)


def test_a_package_passes_against_the_quantized_checkpoint_that_it_was_exported_from(tiny_int4, other_int4, tiny_float):
    for made, matrices in ((tiny_int4, 15), (other_int4, 16), (tiny_float, 15)):
        certificate = verify_package(made.package, made.checkpoint)
        assert certificate.is_equal and certificate.matrices == matrices
        assert (certificate.checkpoint_kind, certificate.named_by_manifest) == ("quantized", True)
        expected = load_quantized(made.checkpoint).values()
        integers = [tensor for tensor in expected if isinstance(tensor, QuantizedTensor)]
        assert certificate.codes == sum(tensor.codes.numel() for tensor in integers)
        assert certificate.scales == sum(tensor.scales.numel() for tensor in integers)
        floats = [tensor for tensor in expected if not isinstance(tensor, QuantizedTensor)]
        assert certificate.floats == sum(tensor.numel() for tensor in floats)


def test_a_package_passes_against_the_float_checkpoint_that_was_rounded_to_nearest(tiny_int4, other_int4, tiny_float):
    for made in (tiny_int4, other_int4, tiny_float):
        certificate = verify_package(made.package, made.source)
        assert (certificate.checkpoint_kind, certificate.method) == ("float", "rtn")
        assert certificate.named_by_manifest is None and certificate.same_source
    assert "derived again by rounding to nearest" in "\n".join(
        verify_package(tiny_int4.package, tiny_int4.source).lines()
    )


def test_layers_that_depart_from_the_recipe_are_compared_as_they_are(tiny_mixed, other_mixed, tiny_float_table):
    for made in (tiny_mixed, other_mixed, tiny_float_table):
        certificate = verify_package(made.package, made.checkpoint)
        assert {kind.scheme for kind in certificate.layers} >= {"int4-group", "float"}
        again = verify_package(made.package, made.source)
        assert (again.codes, again.scales, again.floats) == (certificate.codes, certificate.scales, certificate.floats)


def test_a_package_passes_against_a_trained_checkpoint_with_and_without_learned_scales(tiny_int4, other_int4, tmp_path):
    for made, layers in ((tiny_int4, 15), (other_int4, 16)):
        for learned in (True, False):
            folder = trained(made, tmp_path / f"{layers}-{learned}", learned=learned)
            certificate = verify_package(made.package, folder)
            assert certificate.checkpoint_kind == certificate.method == "trained"
            assert certificate.learned_scales == (layers if learned else 0)


def test_a_zip_passes_and_a_changed_one_does_not(tiny_int4, tmp_path):
    pte, weight = table(tiny_int4.package)
    forged = change_program(tiny_int4.package, tmp_path / "forged", flip(place_of(pte, weight.content), 1))
    for source in (tiny_int4.package, forged):
        entries = [(path.relative_to(source).as_posix(), path) for path in sorted(source.rglob("*")) if path.is_file()]
        write_zip(tmp_path / f"{source.name}.zip", entries, aligned="model.pte")
    assert verify_package(tmp_path / f"{tiny_int4.package.name}.zip", tiny_int4.checkpoint).is_equal
    assert named(problems(tmp_path / "forged.zip", tiny_int4.checkpoint)) == ["embedding", "head"]


@pytest.mark.parametrize("name", [Q0, GATE1, "layers.1.feed_forward.down_proj", "layers.0.attention.v_proj"])
def test_one_code_changed_inside_the_program_names_its_layer_and_place(tiny_int4, tmp_path, name):
    tensor = load_quantized(tiny_int4.checkpoint)[name]
    pte, weight = find_weight(tiny_int4.package, tensor.codes)
    row, column = 3, 9
    start = place_of(pte, weight.content) + (row * weight.shape[1] + column) // 2
    forged = change_program(tiny_int4.package, tmp_path / "forged", flip(start, 0x10))  # an odd column: the high nibble
    expected = f"{name}: 1 of {tensor.codes.numel()} codes differ, first at [{row}, {column}]"
    assert problems(forged, tiny_int4.checkpoint) == [expected]
    assert named(problems(forged, tiny_int4.source)) == [name]
    assert named(problems(forged, trained(tiny_int4, tmp_path / "trained"))) == [name]


def test_one_scale_changed_inside_the_program_names_its_layer_and_place(tiny_int4, tmp_path):
    tensor = load_quantized(tiny_int4.checkpoint)[GATE1]
    pte, weight = find_weight(tiny_int4.package, tensor.codes)
    forged = change_program(
        tiny_int4.package, tmp_path / "forged", flip(place_of(pte, weight.scale_content) + 2 * 5, 1)
    )
    assert problems(forged, tiny_int4.checkpoint) == [f"{GATE1}: 1 of 192 scales differ, first at [2, 1]"]


def test_an_int8_layers_code_and_scale_are_named(other_int4, tmp_path):
    name = "layers.1.feed_forward.down_proj"
    pte, weight = find_weight(other_int4.package, load_quantized(other_int4.checkpoint)[name].codes)
    assert weight.kind == "int8-channel"
    for number, view in enumerate((weight.content, weight.scale_content)):
        forged = change_program(other_int4.package, tmp_path / f"forged{number}", flip(place_of(pte, view), 1))
        assert named(problems(forged, other_int4.checkpoint)) == [name]


def test_two_changed_matrices_of_one_shape_in_one_delegate_are_each_named_with_their_own_count(tiny_int4, tmp_path):
    loaded = load_quantized(tiny_int4.checkpoint)
    names = [f"layers.0.feed_forward.{part}_proj" for part in ("gate", "up")]

    def change(content):
        for number, name in enumerate(names):
            pte, weight = find_weight(tiny_int4.package, loaded[name].codes)
            for byte in range(number + 1):
                content[place_of(pte, weight.content) + byte] ^= 1

    forged = change_program(tiny_int4.package, tmp_path / "forged", change)
    size = loaded[names[0]].codes.numel()
    assert problems(forged, tiny_int4.checkpoint) == [
        f"{names[0]}: 1 of {size} codes differ, first at [0, 0]",
        f"{names[1]}: 2 of {size} codes differ, first at [0, 0]",
    ]


def test_a_code_of_the_tied_table_is_wrong_for_both_its_uses(tiny_int4, tmp_path):
    pte, weight = table(tiny_int4.package)
    forged = change_program(tiny_int4.package, tmp_path / "forged", flip(place_of(pte, weight.content) + 40, 0x20))
    place = "1 of 20480 codes differ, first at [1, 17]"  # 32 bytes a row; the high nibble of the ninth
    assert problems(forged, tiny_int4.checkpoint) == [f"embedding: {place}", f"head: {place}"]


def test_a_scale_of_the_table_is_wrong_for_the_use_that_reads_it(tiny_int4, tmp_path):
    """The gather keeps its scales as float16 and XNNPACK as bfloat16: two copies of one number."""
    pte, weight = table(tiny_int4.package)
    for use, place in (("embedding", place_of(pte, weight.scale_content)), ("head", head_scales(pte))):
        forged = change_program(tiny_int4.package, tmp_path / use, flip(place, 1))
        assert problems(forged, tiny_int4.checkpoint) == [f"{use}: 1 of 640 scales differ, first at [0, 0]"]


def test_a_norm_weight_changed_inside_the_program_names_the_norm(tiny_learned, tmp_path):
    pte = read_pte(tiny_learned.package / "model.pte")
    norms = read_floats(pte, dim=TINY.dim, head_dim=TINY.head_dim).norms
    for number, name in ((1, "layers.0.feed_forward_norm"), (4, "norm")):
        place = place_of(pte, norms[number].content) + 4 * 7
        forged = change_program(
            tiny_learned.package, tmp_path / name, flip(place, 1)
        )  # the last bit of the seventh weight
        assert problems(forged, tiny_learned.checkpoint) == [f"{name}: 1 of 64 weights differ, first at [7]"]


def test_two_norms_that_changed_places_are_named(tiny_learned, tmp_path):
    first, second = "layers.0.attention_norm.weight", "layers.1.attention_norm.weight"

    def swap(tensors):
        tensors[first], tensors[second] = tensors[second].clone(), tensors[first].clone()

    other = change_checkpoint(tiny_learned.checkpoint, tmp_path / "other", swap)
    assert named(problems(tiny_learned.package, other)) == ["layers.0.attention_norm", "layers.1.attention_norm"]


def test_a_norms_epsilon_and_a_position_frequency_are_held_against_the_configuration(tiny_int4, tmp_path):
    pte = read_pte(tiny_int4.package / "model.pte")
    floats = read_floats(pte, dim=TINY.dim, head_dim=TINY.head_dim)
    assert len(floats.epsilons) == 2 * 2 + 1 + 2 * 2  # two norms a layer and the last, queries and keys of each layer
    changes = {
        "norm adds": place_of(pte, floats.epsilons[0].content),
        "rope: frequency 3": place_of(pte, floats.frequencies[0].content) + 3 * 8 + 5,
    }
    for number, (words, place) in enumerate(changes.items()):
        forged = change_program(tiny_int4.package, tmp_path / str(number), flip(place, 4))
        assert words in problems(forged, tiny_int4.checkpoint)[0]


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (f"{Q0}.codes", "codes"),
        (f"{Q0}.scales", "scales"),
        ("embedding.codes", "codes"),
        ("layers.1.attention_norm.weight", "weights"),
    ],
)
def test_one_number_changed_in_the_quantized_checkpoint_names_its_layer(tiny_int4, tmp_path, key, what):
    def change(tensors):
        tensors[key].view(torch.uint8).view(-1)[0] ^= 1

    other = change_checkpoint(tiny_int4.checkpoint, tmp_path / "other", change)
    found = problems(tiny_int4.package, other)
    layer = key.rpartition(".")[0]
    assert named(found) == ([layer, "head"] if layer == "embedding" else [layer])
    assert (
        f"1 of {load_quantized(tiny_int4.checkpoint)[layer].codes.numel() if what == 'codes' else ''}" in found[0]
        and what in found[0]
    )
    assert not compare_package(tiny_int4.package, other).named_by_manifest


def step_over(tensors, name: str, tensor: QuantizedTensor, row: int, column: int) -> None:
    """Moves one weight to the middle of the next cell of its grid."""
    code = int(tensor.codes[row, column])
    scale = float(tensor.scales[row, column // 32])
    tensors[f"{name}.weight"][row, column] = (code + (1 if code < 6 else -1)) * scale


@pytest.mark.parametrize("name", [Q0, "embedding"])
def test_a_weight_of_the_trained_checkpoint_that_moved_by_a_code_is_named(tiny_int4, tmp_path, name):
    tensor = load_quantized(tiny_int4.checkpoint)[name]
    row, column = (int(i) for i in (tensor.codes.abs() < 4).nonzero()[0])
    for learned in (True, False):
        other = trained(
            tiny_int4,
            tmp_path / str(learned),
            learned=learned,
            change=lambda t: step_over(t, name, tensor, row, column),
        )
        place = f"1 of {tensor.codes.numel()} codes differ, first at [{row}, {column}]"
        uses = ["embedding", "head"] if name == "embedding" else [name]
        assert problems(tiny_int4.package, other) == [f"{use}: {place}" for use in uses]


def test_a_weight_that_still_rounds_to_its_code_is_no_difference(tiny_int4, tmp_path):
    tensor = load_quantized(tiny_int4.checkpoint)[Q0]

    def change(tensors):
        tensors[f"{Q0}.weight"][0, 0] = float(tensor.codes[0, 0]) * float(tensor.scales[0, 0])

    other = trained(tiny_int4, tmp_path / "other", change=change)
    certificate = verify_package(tiny_int4.package, other)
    assert certificate.weights_sha256 != verify_package(tiny_int4.package, tiny_int4.source).weights_sha256


def test_a_learned_scale_that_changed_is_named(tiny_int4, tmp_path):
    def change(tensors):
        tensors[f"{GATE1}.weight_scale"][2, 1] *= 1.01

    other = trained(tiny_int4, tmp_path / "changed", change=change)
    assert f"{GATE1}: 1 of 192 scales differ, first at [2, 1]" in problems(tiny_int4.package, other)


def test_a_learned_scale_that_was_lost_is_refused_by_name_wherever_it_would_have_been_the_grid(tiny_int4, tmp_path):
    """Without it the weights' own largest values would be the grid, and nobody would know."""
    lacking = trained(tiny_int4, tmp_path / "lacking", change=lambda tensors: tensors.pop(f"{GATE1}.weight_scale"))
    for use in (
        lambda: verify_package(tiny_int4.package, lacking),
        lambda: quantize_checkpoint(lacking, tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match=f"lacks the scales that training learned for {GATE1}; copy"):
            use()


def test_learned_scales_that_nobody_mentions_are_refused(tiny_int4, tmp_path):
    source = trained(tiny_int4, tmp_path / "source")
    change_json(source / "checkpoint.json", lambda data: data.update(learned_scales=False))
    with pytest.raises(ValueError, match=r"checkpoint\.json says that none were learned"):
        quantize_checkpoint(source, tmp_path / "out")


def test_learned_scales_that_the_file_cannot_hold_are_counted(tiny_int4, tmp_path):
    def change(tensors):
        tensors[f"{GATE1}.weight_scale"][2, 1] *= 1.0 + 2**-12  # bfloat16 keeps 8 bits: it rounds back

    certificate = verify_package(tiny_int4.package, trained(tiny_int4, tmp_path / "trained", change=change))
    assert certificate.rounded_scales == 1
    assert verify_package(tiny_int4.package, trained(tiny_int4, tmp_path / "exact")).rounded_scales == 0


def test_every_setting_that_the_manifest_says_otherwise_is_named(tiny_int4, tmp_path):
    package = Path(shutil.copytree(tiny_int4.package, tmp_path / "package"))
    change_json(package / "manifest.json", lambda data: data["model"]["config"].update(rope_theta=20_000.0))
    found = problems(package, tiny_int4.checkpoint)
    assert found == ["config: rope_theta is 10000.0 in the checkpoint, 20000.0 in the package"]


def test_a_recipe_that_the_manifest_says_otherwise_is_named(tiny_int4, tmp_path):
    package = Path(shutil.copytree(tiny_int4.package, tmp_path / "package"))
    change_json(
        package / "manifest.json",
        lambda data: data["recipe"]["layers"]["attention.q_proj"].update(
            scheme="int8-channel", bits=8, group_size=None
        ),
    )
    found = problems(package, tiny_int4.checkpoint)
    assert found[0] == "attention.q_proj: the manifest's recipe for it is not the checkpoint's"


def test_another_tokenizer_file_is_named(tiny_int4, tmp_path):
    other = change_checkpoint(tiny_int4.checkpoint, tmp_path / "other")
    (other / "tokenizer.json").write_bytes((other / "tokenizer.json").read_bytes() + b"\n")
    assert problems(tiny_int4.package, other)[0].startswith("tokenizer: tokenizer.json has the sha256 ")


def test_another_model_of_the_same_shape_names_its_layers_and_the_other_source(tiny_int4, tmp_path):
    make_checkpoint(TINY, tmp_path / "other", seed=1)
    with pytest.raises(GateError, match=r"embedding: \d+ of 20480 codes differ.*another source"):
        verify_package(tiny_int4.package, tmp_path / "other")


def test_a_model_of_another_shape_is_bad_input_and_says_what_is_other(tiny_int4, other_int4):
    with pytest.raises(ValueError, match="ffn_dim is 80 in the checkpoint, 96 in the package") as raised:
        verify_package(tiny_int4.package, other_int4.checkpoint)
    assert not isinstance(raised.value, GateError)


def test_what_is_no_package_or_no_checkpoint_is_bad_input(tiny_int4, tmp_path):
    with pytest.raises(ValueError, match="it is a checkpoint"):
        verify_package(tiny_int4.checkpoint, tiny_int4.checkpoint)
    with pytest.raises(ValueError, match=r"checkpoint\.json is missing"):
        verify_package(tiny_int4.package, tiny_int4.package)


def test_a_checkpoint_that_lacks_a_tensor_is_bad_input(tiny_int4, tmp_path):
    lacking = change_checkpoint(tiny_int4.checkpoint, tmp_path / "a", lambda tensors: tensors.pop(f"{Q0}.scales"))
    with pytest.raises(ValueError, match=f"missing tensors: {Q0}.scales"):
        verify_package(tiny_int4.package, lacking)


def test_the_certificate_names_both_files_and_what_it_did_not_compare(tiny_int4):
    certificate = verify_package(tiny_int4.package, tiny_int4.checkpoint)
    data = json.loads(json.dumps(certificate.to_json()))
    manifest = read_json(tiny_int4.package / "manifest.json")
    program = next(file for file in manifest["files"] if file["role"] == "program")
    assert (data["format"], data["equal"]) == (FORMAT, True)
    assert data["program_sha256"] == program["sha256"]
    assert data["compared"] == {"matrices": 15, "codes": 106_496, "scales": 3_328, "floats": 320}
    assert data == verify_package(tiny_int4.package, tiny_int4.checkpoint).to_json()  # no time, no path
    text = "\n".join(certificate.lines())
    assert "bit for bit equal" in text and program["sha256"] in text and certificate.weights_sha256 in text
    assert "3 x int64, 24 bytes" in data["not_compared"][0]


def test_one_matrix_and_a_tied_table_are_in_memory_at_a_time(tiny_int4, tmp_path, monkeypatch):
    alive: list[weakref.ref] = []
    most = 0
    original = checkpoint_weights.quantize_layer

    def watched(*arguments, **named_arguments):
        nonlocal most
        made = original(*arguments, **named_arguments)
        alive.append(weakref.ref(made.codes))
        most = max(most, sum(reference() is not None for reference in alive))
        return made

    monkeypatch.setattr(checkpoint_weights, "quantize_layer", watched)
    verify_package(tiny_int4.package, tiny_int4.source)
    assert (len(alive), most) == (15, 3)  # the table, the layer before (until its name is taken) and this one
