"""Every adb command of a bench on a phone, against a stand-in for adb, the NDK and the SDK; no phone was ever here."""

import json
import platform
import shutil
import struct
import sys
from pathlib import Path

import pytest

from model.errors import EnvironmentFault
from runner.adb import FOLDER, UNTRIED, bench_on_phone
from runner.android import build_for_phone
from runner.bench import BenchOptions
from tests.arm import arm_sdk  # noqa: F401 (a fixture)
from tests.runner.bench_answers import make_answer

HERE = Path(__file__).resolve().parent
PROPERTIES = {
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.manufacturer": "Maker",
    "ro.product.model": "Phone 1",
    "ro.soc.model": "SM0000",
    "ro.build.version.release": "14",
}
OPTIONS = BenchOptions(prompt_tokens=32, new_tokens=8, depths=(0, 16), threads=(1, 2), repeats=3)
LIBRARIES = ("", "_threadpool", "_kernels_optimized", "_kernels_quantized", "_backend_xnnpack", "_etdump")


def make_ndk(folder, compiler):
    """An NDK's folders with a compiler that is a script."""
    tools = folder / "toolchains" / "llvm" / "prebuilt" / f"{platform.system().lower()}-x86_64"
    clang = tools / "bin" / "aarch64-linux-android26-clang++"
    clang.parent.mkdir(parents=True)
    clang.write_text(f"#!/bin/sh\n{compiler}\n")
    clang.chmod(0o755)
    shared = tools / "sysroot" / "usr" / "lib" / "aarch64-linux-android" / "libc++_shared.so"
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"the NDK's C++ library")
    return folder


def make_sdk(folder, machine=183):
    """An SDK's folders with libraries that are no more than ELF headers."""
    header = folder / "include" / "executorch" / "runtime" / "executor" / "program.h"
    header.parent.mkdir(parents=True)
    header.touch()
    (folder / "version.py").write_text('__version__ = "1.5.1"\n')
    (folder / "lib").mkdir()
    for name in LIBRARIES:
        (folder / "lib" / f"libexecutorch{name}.so").write_bytes(b"\x7fELF" + bytes(14) + struct.pack("<H", machine))
    return folder


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """The stand-in first on the PATH; returns its state's folder."""
    state = tmp_path / "adb-state"
    (state / "phone").mkdir(parents=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "adb").write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "standin_adb.py"} "$@"\n')
    (tools / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("STANDIN_ADB", str(state))
    told(state)
    return state


def told(state, **changes):
    script = {"devices": "SERIAL1\tdevice", "answer": make_answer(), "properties": PROPERTIES} | changes
    (state / "script.json").write_text(json.dumps(script))


def calls(state):
    return [json.loads(line) for line in (state / "calls.jsonl").read_text().splitlines()]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """NDK and SDK that satisfy the checks, and a build cache of their own."""
    monkeypatch.setenv("POCKETLM_CACHE", str(tmp_path / "cache"))
    compile_nothing = (
        'out=; while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done; [ -z "$out" ] || echo x > "$out"'
    )
    return {"ndk": make_ndk(tmp_path / "ndk", compile_nothing), "sdk": make_sdk(tmp_path / "sdk")}


def run(package, tools, serial=None, options=OPTIONS, progress=lambda _: None):
    return bench_on_phone(package, options, serial=serial, progress=progress, **tools)


def test_a_bench_on_a_phone_pushes_runs_pulls_and_cleans_up(adb, tools, tiny_int4):
    said = []
    result = run(tiny_int4.package, tools, progress=said.append)
    found = calls(adb)
    assert found[0] == ["devices"]
    assert all(words[:2] == ["-s", "SERIAL1"] for words in found[1:])
    verbs = [(words[2], words[3:]) for words in found[1:]]
    assert verbs[0] == ("shell", ["getprop ro.product.cpu.abi"])
    at = verbs.index(("shell", [f"rm -rf {FOLDER} && mkdir -p {FOLDER}"]))
    push, chmod, start, pull, clean = verbs[at + 1 :]
    names = [Path(word).name for word in push[1]]
    assert push[0] == "push" and push[1][-1] == f"{FOLDER}/"
    assert names == [
        "pocketlm-runner", *(f"libexecutorch{name}.so" for name in LIBRARIES), "libc++_shared.so", "manifest.json",
        "model.pte", "pocketlm",
    ]  # fmt: skip
    assert chmod == ("shell", [f"chmod 755 {FOLDER}/pocketlm-runner"])
    assert start == (
        "shell",
        [
            f"cd {FOLDER} && echo $$ > {FOLDER}/pid && export LD_LIBRARY_PATH={FOLDER} && exec ./pocketlm-runner bench "
            f"model.pte -p 32 -n 8 -r 3 --depth 0,16 --threads 1,2 > {FOLDER}/bench.json"
        ],
    )
    assert pull[0] == "pull" and pull[1][0] == f"{FOLDER}/bench.json"
    assert clean == ("shell", [f"kill $(cat {FOLDER}/pid) 2>/dev/null; rm -rf {FOLDER}"])
    assert not (adb / "phone").exists()
    assert "repeat 1 of 1" in said
    assert result.machine == {
        "processor": "Maker Phone 1 (SM0000)", "cores": 8, "memory_gib": 7.5, "system": "Android 14 arm64-v8a",
    }  # fmt: skip
    assert UNTRIED in result.notes and UNTRIED in "\n".join(result.lines())
    assert result.series[0].speeds[-1].tokens_per_s.median == 1000


@pytest.mark.parametrize(
    ("devices", "serial", "error", "words"),
    [
        ("", None, EnvironmentFault, "no device is connected; plug it in"),
        ("A\tdevice\nB\tdevice", None, ValueError, r"several devices are connected \(A, B\); choose one with --serial"),
        ("A\tdevice", "C", EnvironmentFault, "no device C is connected; connected: A"),
        ("A\tunauthorized", None, EnvironmentFault, "device A is unauthorized; unlock it"),
        ("A\toffline", "A", EnvironmentFault, "device A is offline"),
    ],
)
def test_a_device_that_cannot_be_used_is_said_before_anything_is_built(
    adb, tools, tiny_int4, devices, serial, error, words
):
    told(adb, devices=devices)
    with pytest.raises(error, match=words):
        run(tiny_int4.package, tools, serial)
    assert calls(adb) == [["devices"]]


def test_one_of_several_devices_is_chosen_by_its_serial(adb, tools, tiny_int4):
    told(adb, devices="A\tdevice\nB\tdevice")
    run(tiny_int4.package, tools, "B")
    assert {words[1] for words in calls(adb)[1:]} == {"B"}


def test_a_phone_of_another_kind_is_refused(adb, tools, tiny_int4):
    told(adb, properties=PROPERTIES | {"ro.product.cpu.abi": "armeabi-v7a"})
    with pytest.raises(EnvironmentFault, match="device SERIAL1 is armeabi-v7a; the runner is built for arm64-v8a only"):
        run(tiny_int4.package, tools)


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("push", "adb: error: failed to copy 'model.pte': remote write failed: No space left on device"),
        ("run", "pocketlm-runner: not enough memory; close other programs"),
        ("pull", "adb: error: failed to stat remote object"),
    ],
)
def test_what_fails_on_the_phone_is_told_in_its_own_words_and_cleaned_up(adb, tools, tiny_int4, verb, line):
    told(adb, fail={verb: line})
    with pytest.raises(EnvironmentFault, match="failed") as raised:
        run(tiny_int4.package, tools)
    assert line in str(raised.value)
    assert calls(adb)[-1][2:] == ["shell", f"kill $(cat {FOLDER}/pid) 2>/dev/null; rm -rf {FOLDER}"]


def test_an_interrupt_while_the_phone_works_cleans_up(adb, tools, tiny_int4):
    def interrupt(line):
        if line.startswith("repeat"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_int4.package, tools, progress=interrupt)
    assert calls(adb)[-1][3].startswith("kill ")


def test_an_answer_that_is_no_json_is_shown(adb, tools, tiny_int4, monkeypatch):
    told(adb, command="echo hello")
    with pytest.raises(ValueError, match="wrote no JSON value but 'hello"):
        run(tiny_int4.package, tools)


def test_without_adb_it_is_said_where_it_comes_from(tmp_path, tools, tiny_int4, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="adb was not found; install Android's platform-tools"):
        run(tiny_int4.package, tools)


def test_a_weights_cache_of_this_machine_is_refused(adb, tools, tiny_int4, tmp_path):
    options = BenchOptions(weights_cache=tmp_path / "weights")
    with pytest.raises(ValueError, match="--weights-cache is a file of this machine"):
        run(tiny_int4.package, tools, options=options)


def test_a_folder_that_is_no_ndk_or_no_sdk_is_told_what_it_lacks(tmp_path, tools):
    with pytest.raises(EnvironmentFault, match="is no Android NDK for this machine: it has no toolchains"):
        build_for_phone(tmp_path, tools["sdk"])
    (tools["sdk"] / "lib" / "libexecutorch_etdump.so").unlink()
    with pytest.raises(EnvironmentFault, match=r"lacks lib/libexecutorch_etdump\.so; --sdk names a folder"):
        build_for_phone(tools["ndk"], tools["sdk"])


def test_the_wheels_own_libraries_are_not_taken_for_a_phones(tmp_path, tools):
    with pytest.raises(EnvironmentFault, match="is no library for arm64-v8a"):
        build_for_phone(tools["ndk"], make_sdk(tmp_path / "desktop", machine=62))


def test_a_compiler_that_fails_is_quoted(tmp_path, tools, monkeypatch):
    ndk = make_ndk(tmp_path / "other", '[ "$1" = --version ] && exit 0; echo "error: no such thing" >&2; exit 1')
    with pytest.raises(EnvironmentFault, match="error: no such thing"):
        build_for_phone(ndk, tools["sdk"])


@pytest.mark.emulated
@pytest.mark.timeout(900)
def test_the_whole_way_runs_with_an_emulated_processor_in_the_phones_place(adb, tmp_path, tiny_int4, arm_sdk):  # noqa: F811
    """The cross-compiler for Linux stands in for the NDK's, qemu for the phone: the same sources, flags and lines."""
    if shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64") is None:
        pytest.skip(
            "aarch64-linux-gnu-g++ and qemu-aarch64 are needed: apt-get install g++-aarch64-linux-gnu qemu-user"
        )
    told(adb, command="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu ./pocketlm-runner")
    ndk = make_ndk(tmp_path / "ndk", 'exec aarch64-linux-gnu-g++ "$@"')
    options = BenchOptions(prompt_tokens=20, new_tokens=2, threads=(1,), repeats=1)
    result = run(tiny_int4.package, {"ndk": ndk, "sdk": arm_sdk}, options=options)
    assert result.runner["machine"] == "aarch64"
    assert [(s.kind, s.tokens) for s in result.series[0].speeds] == [("prefill", 20), ("decode", 2)]
    assert result.memory["steady_bytes"] > 0
