"""What tests of aarch64 code need: a cross-compiler, qemu and the SDK of executorch's wheel for aarch64.

`python -m tests.arm` says what is missing and how to get it. The wheel lies in <repository>/.cache/aarch64/.
"""

import shutil
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from kernels.toolchain import Toolchain
from model.files import atomic_output

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "aarch64"
COMPILER = "aarch64-linux-gnu-g++"
_PARTS = ("executorch/lib/", "executorch/include/", "executorch/version.py")


def wheel() -> Path | None:
    """The wheel for aarch64 of the executorch that is installed here."""
    return next(iter(sorted(FOLDER.glob(f"executorch-{version('executorch').split('+')[0]}-*aarch64.whl"))), None)


def missing() -> list[str]:
    """A sentence for each thing that is not here."""
    found = []
    if shutil.which(COMPILER) is None:
        found.append(f"{COMPILER} is not installed: apt-get install g++-aarch64-linux-gnu")
    if shutil.which("qemu-aarch64") is None:
        found.append("qemu-aarch64 is not installed: apt-get install qemu-user")
    if wheel() is None:
        found.append(
            f"the aarch64 wheel is not in {FOLDER}: .venv/bin/pip download --platform manylinux_2_28_aarch64 --no-deps "
            f"--only-binary=:all: -d {FOLDER} executorch=={version('executorch').split('+')[0]}"
        )
    return found


@pytest.fixture(scope="session")
def arm_sdk() -> Path:
    """The folder `executorch` of the wheel, unpacked once."""
    if problems := missing():
        pytest.skip("; ".join(problems))
    found = wheel()
    assert found is not None
    sdk = FOLDER / found.stem / "executorch"
    if not sdk.is_dir():
        with atomic_output(FOLDER / found.stem, overwrite=True) as partial, zipfile.ZipFile(found) as archive:
            archive.extractall(partial, [name for name in archive.namelist() if name.startswith(_PARTS)])
    return sdk


@pytest.fixture(scope="session")
def arm_toolchain(arm_sdk: Path) -> Toolchain:
    return Toolchain(COMPILER, "aarch64", arm_sdk)


if __name__ == "__main__":
    for sentence in missing():
        print(sentence, file=sys.stderr)
    sys.exit(1 if missing() else 0)
