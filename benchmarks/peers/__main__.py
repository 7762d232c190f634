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
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import date
from functools import partial
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
    plan, folder = plan_of(given), given.folder.resolve()
    before, started = os.getloadavg()[0], time.monotonic()
    with open_package(given.package) as package, (folder / "run.log").open("w", encoding="utf-8") as log:
        program = package.path("program")
        peers = prepared(given.peers, folder, program)
        config, chunk = PRESETS[given.preset], package.manifest.chunk
        lanes: list[Lane] = []
        for peer in peers:
            say(f"loading {peer.name}")
            described = partial(describe, peer, folder=folder, program=program, config=config, chunk=chunk)
            lanes += lanes_of(peer, plan.threads, described, log)
        samples = measure(lanes, plan, folder, say)
        result = about(given, peers, lanes, folder, program)
        for talk in {id(lane.talk): lane.talk for lane in lanes}.values():
            talk.close()
    result["load_average"] = {"before": before, "after": os.getloadavg()[0]}
    result["seconds"] = round(time.monotonic() - started)
    result["measurements"] = rows(samples)
    print(table(samples, peers))
    if PYTHON in [peer.name for peer in peers]:  # one runtime, from Python
        print("\n" + table(samples, [peer for peer in peers if peer.kind == "pte"], own=PYTHON))
    print("\n" + footprints(result["peers"]))
    if given.output is not None:
        given.output.write_text(dump_json(result), encoding="utf-8")


def prepared(names: str, folder: Path, program: Path) -> list[catalogue.Peer]:
    """The peers of that list whose models are there; of an empty list, all of them, and the rest are named.

    Raises:
        ValueError: a peer that was asked for by name was not prepared.
    """
    peers = catalogue.chosen(names)
    missing = [peer for peer in peers if not catalogue.model_path(peer, folder, program).exists()]
    if missing:
        text = f"{', '.join(peer.name for peer in missing)}: not in {folder}; run `python -m benchmarks.peers prepare`"
        if names:
            raise ValueError(f"{text} or name other --peers")
        say(f"left out: {text}")
    return [peer for peer in peers if peer not in missing]


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
