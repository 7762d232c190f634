"""Peak resident memory of real processes, from the kernel's own count (VmHWM), which a fork or an exec starts anew."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
# The bases in export/estimate_memory.py are those of torch's CPU build; a CUDA build brings libraries of its own.
BASES_ARE_KNOWN = torch.version.cuda is None
_NEW_TOKENS = 8

_POCKETLM = """
import sys
from cli.main import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0], file=sys.stderr)
sys.exit(code)
"""

_NATIVE = """
import sys
from pathlib import Path
from export.native import open_native
from export.package import open_package
with open_package(Path(sys.argv[1])) as package, open_native(package, temperature=0.0) as engine:
    for _ in engine.stream(sys.argv[2], first=True, max_new_tokens=int(sys.argv[3])):
        pass
    with open(f"/proc/{engine._child._process.pid}/status") as status:
        print([line.split()[1] for line in status if line.startswith("VmHWM")][0], file=sys.stderr)
"""


def run_peak(package: Path, runner: str, text: str) -> int:
    """Bytes at the peak of the process that runs a package: `generate` itself, or the native runner's child."""
    if runner == "python":
        return pocketlm_peak("generate", package, text, "--max-new-tokens", _NEW_TOKENS)
    return _peak(_NATIVE, package, text, _NEW_TOKENS)


def pocketlm_peak(*arguments: object) -> int:
    """Bytes at the peak of one `pocketlm` command."""
    return _peak(_POCKETLM, *arguments)


def _peak(code: str, *arguments: object) -> int:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stderr.split()[-1])
