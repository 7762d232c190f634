"""The way from a `.pte` to its packages: what ExecuTorch wrote is what comes out, and damage is named."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.mil.container import _container, is_coreml_program, open_coreml
from export.mil.memory_files import read_memory_files
from export.mil.values import Constant
from export.pte import read_pte
from tests.export.mil.small_models import repacked, with_json
from tests.packages import Made

MODEL = "model.mlpackage/Data/com.apple.CoreML/model.mlmodel"


@pytest.fixture(scope="module")
def payload(tiny_ane: Made) -> bytes:
    pte = read_pte(tiny_ane.package / "model.pte")
    (key,) = pte.named_data
    return bytes(pte.named(key))


def test_two_methods_share_one_package_and_each_knows_its_function(tiny_ane: Made) -> None:
    file = open_coreml(tiny_ane.package / "model.pte")
    assert is_coreml_program(file.pte)
    ((identifier, files),) = file.packages.items()
    assert set(files) == {
        "Manifest.json",
        "Data/com.apple.CoreML/model.mlmodel",
        "Data/com.apple.CoreML/weights/weight.bin",
    }
    prefill, forward = file.methods["prefill"], file.methods["forward"]
    assert prefill.program is forward.program and prefill.weights is forward.weights
    assert prefill.identifier == forward.identifier == identifier
    assert (prefill.function_name, forward.function_name) == ("prefill", "forward")


def test_one_method_carries_its_package_itself(tiny_stateful: Made, other_ane: Made) -> None:
    for made in (tiny_stateful, other_ane):
        (model,) = open_coreml(made.package / "model.pte").methods.values()
        assert model.function_name == model.program.default_function
        assert {value.name for value in model.function.inputs} == set(model.input_names)


def test_a_program_for_another_backend_is_refused(tiny_int4: Made) -> None:
    path = tiny_int4.package / "model.pte"
    assert not is_coreml_program(read_pte(path))
    with pytest.raises(ValueError, match="method forward must be one CoreMLBackend delegate; it has XnnpackBackend"):
        open_coreml(path)


def test_the_package_is_the_folder_that_coremltools_loads(tiny_ane: Made, tmp_path: Path) -> None:
    """Extracted, it is a model that coremltools' own reader of programs takes, with the same operations."""
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    file = open_coreml(tiny_ane.package / "model.pte")
    (files,) = file.packages.values()
    for path, content in files.items():
        (tmp_path / "m.mlpackage" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m.mlpackage" / path).write_bytes(content)
    model = ct.models.MLModel(str(tmp_path / "m.mlpackage"), skip_model_load=True)
    program = load(model.get_spec(), specification_version=9, file_weights_dir=model.weights_dir)
    for name, method in file.methods.items():
        theirs = {o.name: o for o in program.functions[name].operations}
        for operation in method.function.operations:
            for value in operation.outputs:
                assert value.name in {output.name for o in theirs.values() for output in o.outputs} or (
                    operation.kind == "const"
                )
        compressed = [o for o in method.function.operations if o.kind.startswith("constexpr")]
        assert compressed
        other = {output.name: o for o in theirs.values() for output in o.outputs}
        for operation in compressed:
            data = operation.inputs["data"][0]
            assert isinstance(data, Constant)
            from export.mil.constants import read_constant_array

            codes = read_constant_array(data, method.weights)
            their = other[operation.outputs[0].name].inputs["data"].val
            assert (codes == their.astype("int8")).all()


@pytest.mark.parametrize(
    ("path", "changes", "sentence"),
    [
        ("metadata.json", {"identifier": ""}, "'identifier' is missing"),
        ("model.mlpackage/Manifest.json", {"rootModelIdentifier": "x"}, "leads to 'no model'"),
        ("model.mlpackage/Manifest.json", {"itemInfoEntries": []}, "leads to 'no model'"),
    ],
)
def test_a_package_that_leads_nowhere_is_refused(
    payload: bytes, tmp_path: Path, path: str, changes: dict[str, object], sentence: str
) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[path] = with_json(files[path], **changes)

    with pytest.raises(ValueError, match=sentence):
        _container(memoryview(repacked(payload, change, tmp_path)))


@pytest.mark.parametrize("path", ["metadata.json", MODEL, "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"])
def test_a_package_without_one_of_its_files_is_refused(payload: bytes, tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="pocketlm export"):
        _container(memoryview(repacked(payload, lambda files: files.pop(path) and None, tmp_path)))


def test_a_repacked_package_is_the_same_package(payload: bytes, tmp_path: Path) -> None:
    again = repacked(payload, lambda files: None, tmp_path)
    assert {path: bytes(content) for path, content in read_memory_files(memoryview(again)).items()} == {
        path: bytes(content) for path, content in read_memory_files(memoryview(payload)).items()
    }


def test_a_method_that_the_metadata_does_not_list_or_names_otherwise_is_refused(tiny_ane: Made, tmp_path: Path) -> None:
    content = (tiny_ane.package / "model.pte").read_bytes()
    found = json.dumps("prefill").encode() + b": {"
    assert content.count(found) == 1
    for old, new, sentence in [
        (found, b'"prefilL": {', "does not list method prefill"),
        (b'"functionName": "prefill"', b'"functionName": "prefilL"', "no function 'prefilL'"),
        (b'"tokens"', b'"tokenz"', "gives .* the inputs"),
        (b'CMJR{"version"', b'CMJR["version"', "is no JSON"),
    ]:
        assert old in content
        (tmp_path / "forged.pte").write_bytes(content.replace(old, new))
        with pytest.raises(ValueError, match=sentence):
            open_coreml(tmp_path / "forged.pte")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tiny_ane: Made, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray((tiny_ane.package / "model.pte").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path = tmp_path / "damaged.pte"
    path.write_bytes(content)
    try:
        open_coreml(path)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
