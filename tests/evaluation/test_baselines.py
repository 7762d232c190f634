import dataclasses
import json

import pytest

from evaluation import baselines
from evaluation.baselines import check_methods, form_of, make_baselines
from model.checkpoint import random_checkpoint, read_info
from model.errors import EnvironmentFault
from quant.checkpoint import quantize_checkpoint
from tests.evaluation.synthetic_report import make_comparison
from tests.packages import CHUNK, CONTEXT, TINY

DOCUMENTS = [list(range(3, 60)), list(range(70, 150))]


@pytest.fixture(scope="module")
def float_(tmp_path_factory):
    folder = tmp_path_factory.mktemp("baselines") / "float"
    random_checkpoint(TINY, folder, seed=0)
    return folder


def make(float_, methods, folder, form=None, **settings):
    lines = []
    made = make_baselines(
        float_, methods, folder, form or form_of([]), calibration=DOCUMENTS, progress=lines.append, **settings
    )
    return made, lines


def test_each_method_gives_a_thing_in_the_form_of_the_others(float_, tmp_path):
    quantize_checkpoint(
        float_, tmp_path / "qat", recipe="8da4w-g32", group_size=64, overrides={"layers.0.*.q_proj": "int8-channel"}
    )
    form = form_of([tmp_path / "qat"])
    assert (form.recipe, form.group_size, form.packaging) == ("8da4w-g32", 64, None)
    assert form.overrides == {"layers.0.attention.q_proj": "int8-channel"}
    found, _ = make(float_, ["rtn", "gptq"], tmp_path / "made", form)
    wanted = read_info(tmp_path / "qat").quantization
    for method, path in found.made.items():
        info = read_info(path).quantization
        assert info.method == method and info.group_size == 64
        assert {n: s["scheme"] for n, s in info.layers.items()} == {n: s["scheme"] for n, s in wanted.layers.items()}


def test_the_form_of_a_package_has_its_context(tiny_int4, tiny_bounded):
    form = form_of([tiny_int4.checkpoint, tiny_int4.package])
    assert form.recipe == "8da4w-g32" and form.group_size == 32 and form.overrides == {}
    assert dataclasses.astuple(form.packaging) == (CONTEXT, CHUNK, False)
    assert dataclasses.astuple(form_of([tiny_bounded.package]).packaging) == (96, CHUNK, True)


def test_a_package_is_made_where_packages_are_compared(float_, tiny_int4, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(baselines, "export_package", lambda source, out, **settings: asked.update(settings, out=out))
    found, _ = make(float_, ["rtn"], tmp_path, form_of([tiny_int4.package]))
    assert asked == {
        "out": tmp_path / "rtn", "max_context": CONTEXT, "prefill_chunk": CHUNK, "bounded": False, "overwrite": False
    }  # fmt: skip
    assert found.quantized == {"rtn": tmp_path / "rtn-quantized"}


def test_a_method_that_fails_is_listed_and_the_others_go_on(float_, tmp_path, monkeypatch):
    real = baselines.quantize_checkpoint

    def fails(source, out, **settings):
        if settings["method"] == "gptq":
            raise RuntimeError("linalg.cholesky: the input is not positive-definite")
        real(source, out, **settings)

    monkeypatch.setattr(baselines, "quantize_checkpoint", fails)
    found, lines = make(float_, ["rtn", "gptq", "rtn7"], tmp_path)
    assert list(found.made) == ["rtn", "rtn7"]
    assert [(one.name, one.role) for one in found.failed] == [("gptq", "ptq")]
    assert "not positive-definite" in found.failed[0].error
    assert any(line.startswith("warning: gptq failed: linalg") for line in lines)


def test_where_every_method_fails_there_is_nothing_to_compare(float_, tmp_path, monkeypatch):
    def fails(*_, **settings):
        raise ValueError(f"{settings['method']} is broken")

    monkeypatch.setattr(baselines, "quantize_checkpoint", fails)
    with pytest.raises(ValueError, match="no PTQ method gave anything: rtn: rtn is broken; hqq: hqq is broken"):
        make(float_, ["rtn", "hqq"], tmp_path)


def test_a_full_disk_is_no_fault_of_a_method(float_, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise EnvironmentFault("no space left on the disk")

    monkeypatch.setattr(baselines, "quantize_checkpoint", fails)
    with pytest.raises(EnvironmentFault):
        make(float_, ["rtn"], tmp_path)


@pytest.mark.parametrize(
    ("methods", "has_text", "message"),
    [
        (["gptq"], False, "method gptq looks at text; give --calibrate FILE"),
        (["rtm"], True, "did you mean 'rtn'"),
        (["rtn", "rtn"], True, "method rtn is given twice"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_work(float_, tmp_path, methods, has_text, message):
    with pytest.raises(ValueError, match=message):
        check_methods(float_, methods, tmp_path / "made", has_text=has_text, overwrite=False)


def test_what_is_in_the_way_is_not_replaced_and_a_package_gives_no_weights(float_, tiny_float, tmp_path):
    (tmp_path / "rtn").mkdir()
    (tmp_path / "rtn" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="rtn exists already"):
        check_methods(float_, ["rtn"], tmp_path, has_text=False, overwrite=False)
    with pytest.raises(ValueError, match=r"holds mine\.txt"):
        check_methods(float_, ["rtn"], tmp_path, has_text=False, overwrite=True)
    with pytest.raises(ValueError, match="is no checkpoint, so nothing can be quantized from it"):
        check_methods(tiny_float.package, ["rtn"], tmp_path / "other", has_text=False, overwrite=False)


def test_the_report_says_what_was_made_for_it(tmp_path):
    comparison = make_comparison()
    made = baselines.Baselines(
        made={"hqq": type(tmp_path)(comparison.row("hqq").path)}, quantized={}, failed=comparison.failed
    )
    named = made.name(comparison)
    assert (named.row("hqq").method, named.row("hqq").path) == ("hqq", "made here by hqq")
    assert named.row("rtn") == comparison.row("rtn")
    assert json.dumps(named.to_json())
