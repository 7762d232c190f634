"""What does quantization-aware training cost? A step of each objective beside a plain float step, in one run.

    python -m benchmarks.qat_price -r 7 -o benchmarks/results/DATE-qat-price.json
    python -m benchmarks.qat_price --preset mobilellm-pro --device cuda --precision bfloat16 --recompute

Each objective trains the same random weights in a process of its own, so that its peak of memory is its own. The
processes take turns, one step each, and only one of them works at a time; a round gives one ratio to the float step,
and the medians over the rounds are told. Processor seconds stand beside wall seconds: a machine may be shared.
"""

import argparse
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.machine import describe_machine

if TYPE_CHECKING:
    import torch

Step = tuple[float, float, float]  # wall seconds, processor seconds, loss before it

FLOAT = "float"
# What the run file says of each objective; the cached one asks the teacher once, before the first step.
OBJECTIVES: dict[str, str] = {
    FLOAT: 'objective = "next-token"',
    "qat": 'objective = "qat"\ndistill.cross_entropy = 1.0',
    "qat-self-distillation": 'objective = "qat"',
    "qat-self-distillation-cached": 'objective = "qat"\ndistill.cache = "teacher"',
}
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every objective trains on."""

    preset: str
    device: str
    batch_tokens: int
    micro_batch_tokens: int  # in memory at once
    window: int
    precision: str
    recompute: bool  # activation checkpointing
    learn_ranges: bool
    threads: int  # 0: as many as there are


def write_run(folder: Path, objective: str, setup: Setup) -> Path:
    """The run file of one objective; the checkpoint lies beside it."""
    path = folder / f"{objective}.toml"
    lines = [OBJECTIVES[objective]]
    if objective != FLOAT:
        lines.append(f"qat.learn_ranges = {str(setup.learn_ranges).lower()}")
    lines += [
        'model.checkpoint = "checkpoint"',
        'data.sources = ["the batch is random"]',
        "optimizer.warmup_steps = 0",
        "train.steps = 1000000",
        f"train.window = {setup.window}",
        f"train.batch_tokens = {setup.batch_tokens}",
        f"train.micro_batch_tokens = {setup.micro_batch_tokens}",
        f'train.precision = "{setup.precision}"',
        f"train.activation_checkpointing = {str(setup.recompute).lower()}",
        f'train.device = "{setup.device}"',
        f"train.threads = {setup.threads}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def serve(run: Path, requests: Connection) -> None:
    """Trains in this process: a step for each `True` that arrives, until `False`.

    Answers `None` once it is ready; then wall and processor seconds of each step and the loss before it; at the end
    the bytes of memory before there was a model, and at the highest during the steps after the first.
    """
    import torch

    from train.engine import Engine, deterministic, find_device
    from train.run_file import read_run

    settings = read_run(run)
    device = find_device(settings.train.device)
    start = 0 if device.type == "cuda" else _memory_bytes("VmRSS:")
    with deterministic(device, settings.train.threads):
        engine = Engine(settings, device, base=run.parent)
        rows = settings.train.batch_tokens // settings.train.window
        generator = torch.Generator().manual_seed(1)
        shape = (rows, settings.train.window + 1)
        batch = torch.randint(engine.model.config.vocab_size, shape, generator=generator)
        engine.objective.prepare([batch], total=settings.train.batch_tokens, progress=lambda line: None)
        requests.send(None)
        step = 0
        while requests.recv():
            step += 1
            wall, cpu = time.perf_counter(), time.process_time()
            figures = engine.step(batch, step)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            requests.send((time.perf_counter() - wall, time.process_time() - cpu, figures["loss"]))
            if step == 1:
                _forget_peak(device)
        is_gpu = device.type == "cuda"
        requests.send((start, torch.cuda.max_memory_allocated(device) if is_gpu else _memory_bytes("VmHWM:")))


def _forget_peak(device: "torch.device") -> None:
    """What loading took is not a step's: the peak counts anew (proc(5), clear_refs)."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _memory_bytes(key: str) -> int:
    lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return next(int(line[1]) for line in lines if line and line[0] == key) * 1024


def measure(setup: Setup, *, objectives: Sequence[str], repeats: int) -> dict[str, Any]:
    """Trains all objectives in turns; the first round warms up and does not count.

    Raises:
        RuntimeError: a process ended early; its own error stands above.
    """
    from model.checkpoint import random_checkpoint
    from model.config import find_preset

    workers: dict[str, Connection] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        random_checkpoint(find_preset(setup.preset), folder / "checkpoint", seed=0, tokenizer="none")
        for name in objectives:
            workers[name] = _start(stack, write_run(folder, name, setup))
            _answer(workers[name], name)  # before the next one begins: they share the machine in turns
            print(f"{name}: ready", file=sys.stderr)
        steps: dict[str, list[Step]] = {name: [] for name in objectives}
        for turn in range(repeats + 1):
            for name, worker in workers.items():
                worker.send(True)
                taken: Step = _answer(worker, name)
                if turn:
                    steps[name].append(taken)
            print(f"round {turn} of {repeats}", file=sys.stderr)
        peaks = {}
        for name, worker in workers.items():
            worker.send(False)
            peaks[name] = _answer(worker, name)
    return summarize(steps, peaks, batch_tokens=setup.batch_tokens)


def _start(stack: contextlib.ExitStack, run: Path) -> Connection:
    """A process that serves, until the stack ends it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(run, theirs), daemon=True)
    process.start()
    theirs.close()
    stack.callback(process.join, 10)
    stack.callback(process.terminate)
    stack.callback(ours.close)
    return ours


def _answer(worker: Connection, name: str) -> Any:
    try:
        return worker.recv()
    except EOFError:
        raise RuntimeError(f"the process of {name!r} ended early; its error stands above") from None


def summarize(
    steps: Mapping[str, Sequence[Step]], peaks: Mapping[str, tuple[int, int]], *, batch_tokens: int
) -> dict[str, Any]:
    """Medians over the rounds, and of each round's ratio to the first objective's step.

    Args:
        steps: wall seconds, processor seconds and loss of every step, by objective.
        peaks: bytes of memory by objective: before there was a model, and at the highest.
    """
    first = next(iter(steps))
    first_start, first_peak = peaks[first]
    objectives: dict[str, Any] = {}
    for name, taken in steps.items():
        walls, cpus, losses = zip(*taken, strict=True)
        start, peak = peaks[name]
        pairs = list(zip(taken, steps[first], strict=True))
        objectives[name] = {
            "tokens_per_s": round(batch_tokens / statistics.median(walls), 1),
            "step_wall_s": _spread(walls),
            "step_processor_s": _spread(cpus),
            "wall_ratio_to_first": _spread([mine[0] / its[0] for mine, its in pairs]),
            "processor_ratio_to_first": _spread([mine[1] / its[1] for mine, its in pairs]),
            "peak_mib": round(peak / _MIB, 1),
            "peak_ratio_to_first": round(peak / first_peak, 3),
            "peak_above_start_mib": round((peak - start) / _MIB, 1),  # without torch itself
            "peak_above_start_ratio_to_first": round((peak - start) / (first_peak - first_start), 3),
            "last_loss": round(losses[-1], 4),
        }
    return {"repeats": len(steps[first]), "objectives": objectives}


def _spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the two quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": round(middle, 4), "low_quartile": round(low, 4), "high_quartile": round(high, 4)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--micro-batch-tokens", type=int, help="in memory at once; without it the whole batch")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--recompute", action="store_true", help="activation checkpointing")
    parser.add_argument("--learn-ranges", action="store_true", help="learned ranges under QAT")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=tuple(OBJECTIVES), default=tuple(OBJECTIVES), metavar="OBJECTIVE")
    parser.add_argument("-r", dest="repeats", type=int, default=7)
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(argv)
    setup = Setup(
        preset=given.preset,
        device=given.device,
        batch_tokens=given.batch_tokens,
        micro_batch_tokens=given.micro_batch_tokens or given.batch_tokens,
        window=given.window,
        precision=given.precision,
        recompute=given.recompute,
        learn_ranges=given.learn_ranges,
        threads=given.threads,
    )
    names = [FLOAT, *(name for name in given.only if name != FLOAT)]
    result: dict[str, object] = {
        "benchmark": "qat_price",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "command": " ".join(["python -m benchmarks.qat_price", *(argv if argv is not None else sys.argv[1:])]),
        "setup": vars(setup) | {"accelerator": _accelerator(setup.device)},
    }
    result |= measure(setup, objectives=names, repeats=given.repeats)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


def _accelerator(device: str) -> str | None:
    if device != "cuda":
        return None
    import torch

    return str(torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
