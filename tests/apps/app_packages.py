"""Packages of the trained model in assets/nano for the apps' end-to-end tests, with windows that a short chat passes.

Made once for each state of the code: the checkpoint is quantized once, each package exported from it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from model.files import atomic_output
from tests.packages import ROOT, _code_hash

NANO = ROOT / "assets" / "nano"
CONTEXT = 192  # positions; the model's local layers see 128
CHAT_TEMPLATE = {
    "kind": "chat",
    "start": "",
    "roles": {
        "system": {"prefix": "", "suffix": "\n\n", "trim": True},
        "user": {"prefix": "Tell me: ", "suffix": "\n", "trim": True},
        "assistant": {"prefix": "Once", "suffix": "<|end_of_text|>\n", "trim": False},
    },
    "default_system": None,
    "generation_prompt": "Once",
    "end_of_turn": ["<|end_of_text|>"],
    "alternates": False,
}


def _folder(name: str, options: dict[str, Any]) -> Path:
    weights = hashlib.sha256((NANO / "model.safetensors").read_bytes()).hexdigest()
    versions = [version(library) for library in ("executorch", "torch", "torchao")]
    key = f"{_code_hash()} {weights} {versions} {CHAT_TEMPLATE} {json.dumps(options, sort_keys=True)}"
    return ROOT / ".cache" / "packages" / f"app-{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _made(folder: Path, make: Callable[[Path], None]) -> Path:
    if not folder.exists():
        with atomic_output(folder, overwrite=True) as partial:
            make(partial)
    return folder


def _quantized(*, is_chat: bool) -> Path:
    from quant.checkpoint import quantize_checkpoint

    def make(out: Path) -> None:
        quantize_checkpoint(NANO, out / "quantized", recipe="8da4w-g32")
        if is_chat:
            (out / "quantized" / "chat_template.json").write_text(json.dumps(CHAT_TEMPLATE, indent=2))

    return _made(_folder("quantized", {"is_chat": is_chat}), make) / "quantized"


def app_package(name: str, *, is_chat: bool = False, **options: Any) -> Path:
    """A package of nano with these options of `export_package`."""
    from export.export import export_package

    def make(out: Path) -> None:
        export_package(_quantized(is_chat=is_chat), out / "package", **options)

    return _made(_folder(name, {"is_chat": is_chat, **options}), make) / "package"


@pytest.fixture(scope="session")
def endless_package() -> Path:
    """text-llm, endless over 192 positions, continuation only."""
    return app_package("endless", max_context=CONTEXT, prefill_chunk=32)


@pytest.fixture(scope="session")
def bounded_package() -> Path:
    """text-llm, bounded to 192 positions, continuation only."""
    return app_package("bounded", max_context=CONTEXT, prefill_chunk=32, bounded=True)


@pytest.fixture(scope="session")
def chat_package() -> Path:
    """text-llm, endless over 192 positions, with a chat template."""
    return app_package("chat", is_chat=True, max_context=CONTEXT, prefill_chunk=32)


@pytest.fixture(scope="session")
def coreml_package() -> Path:
    """static-kv for coreml-gpu, endless over 256 positions: the package of the tests of the loop."""
    pytest.importorskip("coremltools", reason="coremltools has no build for this Python or system")
    from tests.export.test_coreml_nano import make_nano

    return make_nano("coreml-gpu", "8da4w-g32")[1]


def zipped(package: Path, out: Path) -> Path:
    """The same package as a zip."""
    from export.package_zip import write_zip

    names = ["manifest.json", *sorted(p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file())]
    names = list(dict.fromkeys(names))
    write_zip(out, [(name, package / name) for name in names], aligned="model.pte")
    return out


def copied(package: Path, out: Path) -> Path:
    """The same package as a folder of its own."""
    shutil.copytree(package, out)
    return out
