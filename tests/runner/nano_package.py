"""The package of the trained model in assets/nano, made once for each state of the code (about a minute)."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest

from model.files import atomic_output
from tests.packages import ROOT, _code_hash

NANO = ROOT / "assets" / "nano"


@pytest.fixture(scope="session")
def nano_package() -> Path:
    """8da4w-g32, endless over 1,024 positions."""
    key = _code_hash() + version("executorch") + hashlib.sha256((NANO / "model.safetensors").read_bytes()).hexdigest()
    folder = ROOT / ".cache" / "packages" / ("nano-" + hashlib.sha256(key.encode()).hexdigest()[:16])
    if not folder.exists():
        from export.export import export_package
        from quant.checkpoint import quantize_checkpoint

        with atomic_output(folder, overwrite=True) as partial:
            quantize_checkpoint(NANO, partial / "quantized", recipe="8da4w-g32")
            export_package(partial / "quantized", partial / "package", max_context=1024, prefill_chunk=64)
    return folder / "package"
