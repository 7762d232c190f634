"""Builds: kept by the hash of all they depend on, whole or not at all, and errors that a person can use."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernels.toolchain import Source, Toolchain, build, cache_folder, host_toolchain
from model.errors import EnvironmentFault

PROGRAM = '#include <cstdio>\n#include "number.h"\nint main() { std::printf("%d\\n", NUMBER + EXTRA); }\n'


@pytest.fixture
def toolchain(tmp_path, monkeypatch) -> Toolchain:
    monkeypatch.setenv("POCKETLM_CACHE", str(tmp_path / "cache"))
    found = host_toolchain()
    assert found is not None
    return found


@pytest.fixture
def source(tmp_path) -> Source:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "number.h").write_text("#define NUMBER 40\n")
    (tmp_path / "code" / "main.cpp").write_text(PROGRAM)
    return Source(tmp_path / "code" / "main.cpp", {"x86_64": ("-DEXTRA=2",), "aarch64": ("-DEXTRA=2",)})


def made(toolchain, source, flags=()) -> Path:
    return build(toolchain, [source], kind="program", libraries=(), flags=flags)


def said(toolchain, program: Path) -> str:
    return subprocess.run(toolchain.command(program), capture_output=True, text=True, check=True).stdout.strip()


def test_a_build_is_found_again_until_something_that_it_depends_on_changes(toolchain, source):
    first = made(toolchain, source)
    assert said(toolchain, first) == "42"
    stamp = first.stat().st_mtime_ns
    assert made(toolchain, source) == first
    assert first.stat().st_mtime_ns == stamp
    assert made(toolchain, source, ("-g",)) != first
    (source.path.parent / "number.h").write_text("#define NUMBER 50\n")
    second = made(toolchain, source)
    assert second != first
    assert said(toolchain, second) == "52"
    source.path.write_text(PROGRAM.replace("+ EXTRA", "- EXTRA"))
    assert said(toolchain, made(toolchain, source)) == "48"


def test_the_sdk_is_linked_and_found_when_the_program_runs(toolchain, tmp_path):
    code = tmp_path / "sdk.cpp"
    code.write_text(
        "#include <executorch/runtime/kernel/operator_registry.h>\n#include <cstdio>\n"
        'int main() { std::printf("%d\\n", executorch::runtime::get_registered_kernels().size() > 100); }\n'
    )
    libraries = ("executorch", "executorch_kernels_optimized")
    program = build(toolchain, [Source(code)], kind="program", libraries=libraries, name="counter")
    assert program.name == "counter"
    assert said(toolchain, program) == "1"


def test_several_processes_that_want_the_same_build_get_one(toolchain, source):
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: made(toolchain, source), range(4)))
    assert len(found) == 1
    assert not list(cache_folder().rglob("*.partial-*"))


def test_a_compile_error_is_said_with_the_compilers_last_lines_and_leaves_nothing(toolchain, source):
    source.path.write_text("int main() { return nothing_of_this_name; }\n")
    with pytest.raises(
        EnvironmentFault, match=r"could not build main\.cpp \(exit code 1\):\n(.|\n)*nothing_of_this_name"
    ):
        made(toolchain, source)
    assert [path for path in cache_folder().rglob("*") if path.is_file() and path.name != ".lock"] == []
    source.path.write_text("int nowhere(); int main() { return nowhere(); }\n")
    with pytest.raises(EnvironmentFault, match=r"could not build pocketlm (.|\n)*nowhere"):
        made(toolchain, source)


def test_a_killed_build_leaves_nothing_that_is_taken_for_whole(toolchain, source, root):
    script = (
        "import sys; from pathlib import Path; from kernels.toolchain import *; "
        "t = host_toolchain(); build(t, [Source(Path(sys.argv[1]), {'x86_64': ('-DEXTRA=2',)})], "
        "kind='program', libraries=())"
    )
    slow = "\n".join(f"#include <{name}>" for name in ("functional", "map", "iostream", "filesystem"))
    source.path.write_text(slow + "\n" + PROGRAM)
    process = subprocess.Popen([sys.executable, "-c", script, str(source.path)], cwd=root, env=os.environ)
    time.sleep(0.5)
    process.kill()
    process.wait()
    assert said(toolchain, made(toolchain, source)) == "42"


def test_where_there_is_no_compiler_there_is_no_toolchain(monkeypatch):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert host_toolchain() is None
    monkeypatch.setenv("CXX", "g++ -pipe")
    found = host_toolchain()
    assert found is not None
    assert found.compiler == "g++ -pipe"


def test_a_compiler_that_does_not_start_and_a_folder_that_is_no_sdk_are_environment_faults(toolchain, source, tmp_path):
    with pytest.raises(EnvironmentFault, match="no program can be built with false"):
        made(Toolchain("false", toolchain.machine, toolchain.sdk), source)
    with pytest.raises(EnvironmentFault, match=r"version\.py"):
        made(Toolchain(toolchain.compiler, toolchain.machine, tmp_path), source)


def test_a_cache_that_cannot_be_written_is_an_environment_fault(toolchain, source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POCKETLM_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFault, match="set POCKETLM_CACHE to a folder that can"):
        made(toolchain, source)


def test_another_machines_program_is_started_in_qemu(toolchain):
    other = "aarch64" if toolchain.machine == "x86_64" else "x86_64"
    words = Toolchain("g++", other, toolchain.sdk).command(Path("/a/program"))
    assert words[0] == f"qemu-{other}"
    assert words[-1] == "/a/program"
