"""Installs the peers into a folder of their own and makes their models; a step whose output is whole is skipped.

A step writes a marker with what it depends on when it has finished; another version or shape makes it again.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import export_llm, llama_cpp
from benchmarks.peers.catalogue import CONTEXT
from benchmarks.peers.gguf_file import ARCHITECTURES
from model.config import PRESETS
from model.errors import EnvironmentFault
from model.files import dump_json

GGUF_VERSION = "0.19.0"
ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 15  # of a failed command's output


@dataclass(frozen=True, kw_only=True)
class Step:
    """What makes one thing in the folder."""

    name: str
    what: str  # for people, with what it costs
    depends: dict[str, object]  # everything that decides its output
    outputs: tuple[str, ...]  # paths in the folder that must be there
    make: Callable[[], None]

    def marker(self, folder: Path) -> Path:
        """Where it says that it has finished."""
        return folder / f"{self.name}.done.json"

    def is_whole(self, folder: Path) -> bool:
        """Finished with the same settings, and nothing of it is gone."""
        marker = self.marker(folder)
        if not marker.exists() or not all((folder / output).exists() for output in self.outputs):
            return False
        return bool(json.loads(marker.read_text(encoding="utf-8")) == json.loads(dump_json(self.depends)))


def prepare(steps: Sequence[Step], folder: Path, say: Callable[[str], None]) -> None:
    """Runs what is not whole, in order; a failure ends it and keeps what is finished."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        if step.is_whole(folder):
            say(f"{step.name}: there")
            continue
        say(f"{step.name}: {step.what} ...")
        step.marker(folder).unlink(missing_ok=True)
        step.make()
        if missing := [output for output in step.outputs if not (folder / output).exists()]:
            raise EnvironmentFault(f"{step.name} has ended without {', '.join(missing)} in {folder}; run it again")
        step.marker(folder).write_text(dump_json(step.depends), encoding="utf-8")


def all_steps(folder: Path, preset: str) -> list[Step]:
    """The peers of the catalogue, cheapest first."""
    return [*_llama_steps(folder, preset), *_export_steps(folder, preset)]


def _llama_steps(folder: Path, preset: str) -> list[Step]:
    package = f"{llama_cpp.PACKAGE}@{llama_cpp.VERSION}"
    install = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", package]
    gguf = f"gguf=={GGUF_VERSION}"
    python = folder / "venv" / "bin" / "python"

    def make_venv() -> None:
        shutil.rmtree(folder / "venv", ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        _run([str(python), "-m", "pip", "install", "--quiet", gguf], folder)

    def write(architecture: str) -> Callable[[], None]:
        path = str(folder / f"{architecture}.gguf")

        def make() -> None:
            for kept in folder.glob("cache-*.bin"):  # benchmarks.peers.measure.fill's, of the file before
                kept.unlink()
            _run([str(python), "-m", "benchmarks.peers.gguf_file", preset, architecture, path], ROOT)

        return make

    return [
        Step(
            name="llama.cpp",
            what=f"npm install {package} (30 MB)",
            depends={"package": package},
            outputs=(f"node_modules/{llama_cpp.PACKAGE}/package.json",),
            make=lambda: _run(install, folder),
        ),
        Step(
            name="gguf",
            what=f"a virtual environment with {gguf}",
            depends={"package": gguf},
            outputs=("venv/bin/python",),
            make=make_venv,
        ),
        *(
            Step(
                name=f"{architecture}.gguf",
                what="random Q4_0 weights (611 MB, half a minute)",
                depends={"preset": preset, "gguf": GGUF_VERSION},
                outputs=(f"{architecture}.gguf",),
                make=write(architecture),
            )
            for architecture in ARCHITECTURES
        ),
    ]


def _export_steps(folder: Path, preset: str) -> list[Step]:
    config = PRESETS[preset]

    def export(name: str, quantized_cache: bool) -> Callable[[], None]:
        def make() -> None:
            export_llm.write_settings(config, folder, name, quantized_cache=quantized_cache, context=CONTEXT)
            _run(export_llm.command(folder, name), folder)

        return make

    return [
        Step(
            name=f"{name}.pte",
            what="ExecuTorch's export_llm (775 MB; 25 minutes on a busy machine, 9.2 GB of memory)",
            depends={
                "executorch": version("executorch"),
                "parameters": export_llm.parameters(config),
                "settings": export_llm.settings(config, Path(), name, quantized_cache=quantized, context=CONTEXT),
            },
            outputs=(f"{name}.pte",),
            make=export(name, quantized),
        )
        for name, quantized in (("f32-kv", False), ("int8-kv", True))
    ]


def _run(command: Sequence[str], folder: Path) -> None:
    """Runs it there and keeps what it says to itself.

    Raises:
        EnvironmentFault: it is not installed or fails; the message carries its last lines.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EnvironmentFault(f"{command[0]} is not installed; the peers need it (npm comes with Node.js)") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
        raise EnvironmentFault(f"`{' '.join(command)}` failed with {done.returncode}:\n{last}")
