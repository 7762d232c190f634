"""The comparison with other runtimes, from the command line.

    python -m benchmarks.peers prepare --folder F
    python -m benchmarks.peers run --folder F --package PACKAGE -o RESULT.json

`prepare` installs llama.cpp (npm) and gguf (PyPI) into F, writes the random models, and runs ExecuTorch's export_llm;
what is there is kept, so it can be broken off and run again. It needs npm, 4 GB of disk and 10 GB of memory.
`run` loads every peer and times them in turn: about 15 minutes on two cores, and 4 more the first time, when
llama.cpp's caches are filled. It takes 14 GB of memory. Leave the machine alone meanwhile.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.peers import catalogue, prepare
from benchmarks.peers.catalogue import PYTHON
from benchmarks.peers.measure import Plan, measure
from benchmarks.peers.processes import Lane, describe, lanes_of
from benchmarks.peers.table import footprints, rows, table
from export.package import open_package
from model.config import PRESETS
from model.errors import EnvironmentFault
from model.files import dump_json
from runner.machine import describe_machine

DEFAULT_FOLDER = Path.home() / ".cache" / "pocketlm" / "peers"


def numbers(text: str) -> tuple[int, ...]:
    """`1,2` as (1, 2)."""
    return tuple(int(part) for part in text.split(",") if part)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line, read strictly."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("prepare", help="install the peers and make their models")
    running = commands.add_parser("run", help="time them beside ours")
    for each in (making, running):
        each.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the peers' own folder")
        each.add_argument("--preset", choices=sorted(PRESETS), default="mobilellm-pro", help="the shape of all models")
    running.add_argument("--package", type=Path, required=True, help="ours, of that shape")
    running.add_argument("--peers", default="", help="names with commas; all by default")
    running.add_argument("--threads", type=numbers, default=(1, 2))
    running.add_argument("--depths", type=numbers, default=(100, 2048, 8192), help="of decode")
    running.add_argument("--prefill", type=numbers, default=(512, 2048), help="tokens of prompts")
    running.add_argument("-n", dest="tokens", type=int, default=32, help="tokens decoded in one timing")
    running.add_argument("-r", dest="repeats", type=int, default=5)
    running.add_argument("--quick", action="store_true", help="prompts of 128, depth 100, 16 tokens, 2 repeats")
    running.add_argument("-o", dest="output", type=Path, help="also write the result here")
    return parser.parse_args(given)


def plan_of(given: argparse.Namespace) -> Plan:
    """What the options ask for."""
    if given.quick:
        return Plan(threads=given.threads, depths=(100,), prefill=(128,), tokens=16, repeats=2)
    return Plan(
        threads=given.threads,
        depths=given.depths,
        prefill=given.prefill,
        tokens=given.tokens,
        repeats=given.repeats,
    )


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)


def run(given: argparse.Namespace) -> None:
    """Starts the peers, measures, prints and writes."""
    peers, plan, config = catalogue.chosen(given.peers), plan_of(given), PRESETS[given.preset]
    folder: Path = given.folder.resolve()
    with open_package(given.package) as package, ExitStack() as stack:
        program, chunk = package.path("program"), package.manifest.chunk
        if missing := [p.name for p in peers if not catalogue.model_path(p, folder, program).exists()]:
            raise ValueError(
                f"{', '.join(missing)}: not in {folder}; run `python -m benchmarks.peers prepare` or name other --peers"
            )
        log = stack.enter_context((folder / "run.log").open("w", encoding="utf-8"))
        lanes: list[Lane] = []
        for peer in peers:
            say(f"loading {peer.name}")
            lanes += lanes_of(
                peer,
                plan.threads,
                lambda threads, peer=peer: describe(peer, threads, folder, program, config, chunk),  # type: ignore[misc]
                log,
            )
        samples = measure(lanes, plan, folder, say)
        result = about(given, peers, lanes, folder, program) | {"measurements": rows(samples)}
        for talk in {id(lane.talk): lane.talk for lane in lanes}.values():
            talk.close()
    print(table(samples, peers))
    like = [peer for peer in peers if peer.kind == "pte"]  # one runtime, from Python
    if PYTHON in [peer.name for peer in like]:
        print("\n" + table(samples, like, own=PYTHON))
    print("\n" + footprints(result["peers"]))
    if given.output is not None:
        given.output.write_text(dump_json(result), encoding="utf-8")


def about(
    given: argparse.Namespace, peers: Sequence[catalogue.Peer], lanes: Sequence[Lane], folder: Path, program: Path
) -> dict[str, Any]:
    """What the figures were measured with: machine, versions, settings, files, memory of each process at the end."""
    found: dict[str, Any] = {}
    for peer in peers:
        own = [lane for lane in lanes if lane.peer is peer]
        found[peer.name] = {
            **{key: value for key, value in dataclasses.asdict(peer).items() if key != "name"},
            "file_bytes": catalogue.model_path(peer, folder, program).stat().st_size,
            "facts": own[0].talk.facts,
            "memory_mib": {str(lane.threads): lane.talk.memory_mib() for lane in own},
        }
    return {
        "benchmark": "peers",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "command": shlex.join(["python", "-m", "benchmarks.peers", *sys.argv[1:]]),
        "preset": given.preset,
        "plan": dataclasses.asdict(plan_of(given)),
        "peers": found,
    }


def main() -> int:
    given = arguments(sys.argv[1:])
    try:
        if given.command == "run":
            run(given)
        else:
            folder = given.folder.resolve()
            prepare.prepare(prepare.all_steps(folder, given.preset), folder, say)
    except (ValueError, EnvironmentFault) as error:
        say(f"error: {error}")
        return 4 if isinstance(error, EnvironmentFault) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
