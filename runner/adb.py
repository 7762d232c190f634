"""Benchmarks a package on a phone over adb: pushes runner, libraries and program, runs them, pulls the answer.

Nothing of it stays on the phone. Its command lines are tested against a stand-in for adb. Never run on a phone here.
"""

import contextlib
import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.manifest_rules import MANIFEST_NAME
from export.package import Package, open_package
from model.errors import EnvironmentFault
from runner.android import PhoneBuild, build_for_phone
from runner.bench import BenchOptions, check, read_answer
from runner.bench_result import BenchResult
from runner.child import Progress, end

FOLDER = "/data/local/tmp/pocketlm"  # where adb's user may write and execute
UNTRIED = "measured over adb; this way has never been run on a phone by those who wrote it"
_ABI = "arm64-v8a"
_ANSWER, _PID = f"{FOLDER}/bench.json", f"{FOLDER}/pid"


@dataclass(frozen=True)
class Adb:
    """One device and how to talk to it."""

    serial: str
    executable: str = "adb"

    def do(self, *words: str, progress: Progress | None = None) -> str:
        """Runs `adb -s SERIAL WORDS` and returns its stdout.

        Args:
            progress: gets each line of stderr as it comes.

        Raises:
            EnvironmentFault: it failed; the message carries adb's own last line.
        """
        return _run([self.executable, "-s", self.serial, *words], progress)

    def shell(self, line: str, progress: Progress | None = None) -> str:
        """Runs a line in the device's shell; raises as `do`, with the line's exit code."""
        return self.do("shell", line, progress=progress)


def bench_on_phone(
    path: Path, options: BenchOptions, *, ndk: Path, sdk: Path, serial: str | None, progress: Progress
) -> BenchResult:
    """As `runner.bench.bench`, on a phone.

    Args:
        ndk, sdk: as `runner.android.build_for_phone`.
        serial: which device; None: the only one.

    Raises:
        ValueError: as `bench`; several devices and no serial; a weights cache, which lies on this machine.
        EnvironmentFault: no adb, no device, one of another kind, a failed build, push or run.
    """
    if options.weights_cache is not None:
        raise ValueError("--weights-cache is a file of this machine and cannot be used with --adb; leave it out")
    with open_package(path) as package:
        work = check(package, options, cores=None)
        device = find_device(serial)
        progress(f"building the native runner for {_ABI}")
        build = build_for_phone(ndk, sdk)
        machine = describe_phone(device)
        with contextlib.ExitStack() as stack:
            stack.callback(_clean, device)
            _push(device, build, package, progress)
            progress(f"measuring on {machine['processor']}")
            found = _measure(device, [package.path("program").name, *work.arguments()], progress)
        result = read_answer(found, package, work, shown=path, machine=machine)
        return BenchResult(**{**vars(result), "notes": (*result.notes, UNTRIED)})


def find_device(serial: str | None, executable: str = "adb") -> Adb:
    """The device of that serial number, or the only one.

    Raises:
        ValueError: several are there and none was named.
        EnvironmentFault: no adb, no such device, or it does not let us in.
    """
    lines = _run([executable, "devices"], None).splitlines()[1:]
    states = dict(line.split("\t", 1) for line in lines if "\t" in line)
    if serial is None and len(states) > 1:
        raise ValueError(f"several devices are connected ({', '.join(states)}); choose one with --serial")
    chosen = serial if serial is not None else next(iter(states), None)
    if chosen is None or chosen not in states:
        known = f"; connected: {', '.join(states)}" if states else ""
        which = "no device is connected" if serial is None else f"no device {serial} is connected"
        raise EnvironmentFault(f"{which}{known}; plug it in, switch USB debugging on and look at `adb devices`")
    if states[chosen] != "device":
        raise EnvironmentFault(
            f"device {chosen} is {states[chosen]}; unlock it, allow USB debugging when it asks, and try again"
        )
    found = Adb(chosen, executable)
    abi = found.shell("getprop ro.product.cpu.abi").strip()
    if abi != _ABI:
        raise EnvironmentFault(f"device {chosen} is {abi or 'of an unknown kind'}; the runner is built for {_ABI} only")
    return found


def describe_phone(device: Adb) -> dict[str, object]:
    """What the figures were measured on, as `runner.machine.describe_machine` says it of a host."""
    names = ("ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.build.version.release")
    maker, model, chip, release = (device.shell(f"getprop {name}").strip() for name in names)
    memory = device.shell("grep MemTotal /proc/meminfo").split()
    return {
        "processor": f"{maker} {model} ({chip or 'unknown chip'})".strip(),
        "cores": int(device.shell("nproc").strip() or 0),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if len(memory) > 1 and memory[1].isdigit() else None,
        "system": f"Android {release} {_ABI}",
    }


def _push(device: Adb, build: PhoneBuild, package: Package, progress: Progress) -> None:
    device.shell(f"rm -rf {FOLDER} && mkdir -p {FOLDER}")
    files = [build.program, *build.libraries, package.folder / MANIFEST_NAME, package.path("program")]
    size = sum(file.stat().st_size for file in files) / 2**20
    progress(f"pushing {len(files)} files, {size:,.0f} MiB, to {FOLDER}")
    device.do("push", *map(str, files), f"{FOLDER}/")
    device.shell(f"chmod 755 {FOLDER}/{build.program.name}")


def _measure(device: Adb, arguments: Sequence[str], progress: Progress) -> object:
    """The runner's JSON, over a file on the phone: a phone's shell may mix stdout with what drivers print."""
    words = " ".join(map(shlex.quote, ["./pocketlm-runner", "bench", *arguments]))
    line = f"cd {FOLDER} && echo $$ > {_PID} && export LD_LIBRARY_PATH={FOLDER} && exec {words} > {_ANSWER}"
    device.shell(line, progress)
    with tempfile.TemporaryDirectory(prefix="pocketlm-adb-") as folder:
        answer = Path(folder) / "bench.json"
        device.do("pull", _ANSWER, str(answer))
        try:
            return json.loads(answer.read_text(errors="replace"))
        except ValueError:
            raise ValueError(
                f"the runner on {device.serial} wrote no JSON value but {answer.read_text(errors='replace')[:200]!r}"
            ) from None


def _clean(device: Adb) -> None:
    """Ends what still runs there and removes our folder; a phone that was unplugged keeps it until the next run."""
    with contextlib.suppress(EnvironmentFault):
        device.shell(f"kill $(cat {_PID}) 2>/dev/null; rm -rf {FOLDER}")


def _run(command: Sequence[str], progress: Progress | None) -> str:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
    except FileNotFoundError:
        raise EnvironmentFault(
            f"{command[0]} was not found; install Android's platform-tools "
            "(https://developer.android.com/tools/releases/platform-tools) and put it on the PATH"
        ) from None
    try:
        assert process.stderr is not None and process.stdout is not None
        said = []
        if progress is not None:
            for line in process.stderr:
                said.append(line.rstrip())
                progress(line.rstrip())
        out, rest = process.communicate()
    finally:
        end(process)
    if process.returncode:
        lines = [line for line in (*said, *rest.splitlines(), *out.splitlines()) if line.strip()]
        what = " ".join([command[0], *(command[3:5] if command[1] == "-s" else command[1:])])
        raise EnvironmentFault(
            f"`{what}` failed (exit code {process.returncode}): {lines[-1] if lines else 'it said nothing'}"
        )
    return out
