"""Several targets at once: a folder with one package each, through the command line.

There is one target so far; a second one that is like it stands in for those to come. Lowering is left out: both get
the program of the shared package, which every check of the export then reads.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from cli.main import main
from export.target import TARGETS
from model.files import check_target

OPTIONS = ("--max-context", "241", "--prefill-chunk", "16", "--target", "xnnpack,second", "--target", "xnnpack")


@pytest.fixture(autouse=True)
def second_target(tiny_int4, monkeypatch):
    monkeypatch.setitem(TARGETS, "second", dataclasses.replace(TARGETS["xnnpack"], name="second"))
    monkeypatch.setattr("export.export.PACKAGE_NAMES", ("xnnpack", "second", "xnnpack.zip", "second.zip"))
    program = (tiny_int4.package / "model.pte").read_bytes()
    monkeypatch.setattr("export.export._lower_to", lambda path, *_: path.write_bytes(program))


@pytest.fixture
def say(capfd):
    def run(*argv: object) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize(("options", "suffix"), [([], ""), (["--zip"], ".zip")])
def test_each_target_gets_a_package_of_its_own(tiny_int4, tmp_path, say, options, suffix):
    out = tmp_path / "out"
    argv = ["export", tiny_int4.checkpoint, out, *OPTIONS, *options, "--json"]
    planned = json.loads(say(*argv, "--dry-run")[1])["packages"]
    assert not out.exists()
    code, text, err = say(*argv)
    assert code == 0, err
    made = json.loads(text)["packages"]
    assert [package["output"] for package in made] == [str(out / f"{name}{suffix}") for name in ("xnnpack", "second")]
    assert [package["output"] for package in planned] == [package["output"] for package in made]
    assert sorted(path.name for path in out.iterdir()) == [f"second{suffix}", f"xnnpack{suffix}"]
    for package in made:
        code, text, err = say("inspect", package["output"], "--strict", "--json")
        assert code == 0, err
        code, text, _ = say("generate", package["output"], "Once", "--max-new-tokens", 4, "--json")
        assert code == 0 and json.loads(text)["new_tokens"] == 4
    assert say(*argv)[0] == 1
    code, _, err = say(*argv, "--overwrite")
    assert code == 0, err


def test_the_folder_of_several_packages_points_to_them(tiny_int4, tmp_path, say):
    out = tmp_path / "out"
    assert say("export", tiny_int4.checkpoint, out, *OPTIONS)[0] == 0
    code, _, err = say("generate", out, "x")
    assert code == 1 and f"holds one for each of second, xnnpack; open one of them, as {out / 'second'}" in err
    with pytest.raises(ValueError, match="holds second, which pocketlm has not written"):
        check_target(out, overwrite=True)  # one package does not replace several


def test_a_failure_of_one_target_leaves_none(tiny_int4, tmp_path, say, monkeypatch):
    from export import export

    check, seen = export.check_program, []

    def fail_second(program: Path, *rest: object) -> None:
        seen.append(program)
        check(program, *rest)
        if len(seen) == 2:
            raise ValueError("the second one fails; mend it")

    monkeypatch.setattr(export, "check_program", fail_second)
    code, out, err = say("export", tiny_int4.checkpoint, tmp_path / "new" / "out", *OPTIONS)
    assert (code, out) == (1, "") and err.endswith("pocketlm: error: the second one fails; mend it\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("template", "command"), [(None, "chat"), ('{"kind": "completion", "reason": "r"}', "generate")]
)
def test_the_next_command_fits_what_the_package_can_do(tiny_int4, tmp_path, say, template, command):
    checkpoint = tmp_path / "quantized"
    shutil.copytree(tiny_int4.checkpoint, checkpoint)
    if template is not None:
        (checkpoint / "chat_template.json").write_text(template)
    code, text, err = say("export", checkpoint, tmp_path / "out", *OPTIONS[:4])
    assert code == 0 and f"next: pocketlm {command} {tmp_path / 'out'}" in text + err
    assert (text + err).count("completion only: r") == (template is not None)
