"""How much memory a self-distillation loss needs at a full vocabulary: all logits at once against chunks.

    python -m benchmarks.distillation_memory -o benchmarks/results/DATE-distillation-memory.json

Each way runs in a process of its own, which tells its own peak of resident memory before the loss and after its
backward pass. The tables, the hidden states and the table's gradient are the same in all; the rest is the loss's.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn

from runner.machine import describe_machine
from train.distillation import Head, distillation_loss


def plain_loss(student: Head, teacher: Head) -> Tensor:
    """Forward KL as one writes it: the logits of all positions, and torch's own functions."""
    logits_MV = student.hidden_MC @ student.weight_VC.T
    with torch.no_grad():
        target_MV = torch.log_softmax(teacher.hidden_MC @ teacher.weight_VC.T, dim=1)
    log_probs_MV = torch.log_softmax(logits_MV, dim=1)
    return nn.functional.kl_div(log_probs_MV, target_MV, log_target=True, reduction="batchmean")


def measure(chunk: int | None, shape: tuple[int, int, int], threads: int, answer: Connection) -> None:
    """One loss with its gradients, in this process; sends peaks in bytes, seconds and the loss."""
    torch.set_num_threads(threads)
    positions, width, vocabulary = shape
    generator = torch.Generator().manual_seed(0)
    table_VC = torch.empty(vocabulary, width).normal_(std=0.02, generator=generator).requires_grad_()
    hidden_MC = torch.empty(positions, width).normal_(generator=generator).requires_grad_()
    noise_MC = torch.empty(positions, width).normal_(std=0.3, generator=generator)
    teacher = Head(hidden_MC.detach() + noise_MC, table_VC.detach())
    table_VC.grad = torch.zeros_like(table_VC)  # as a second micro-batch finds it; touched, so that it is in memory
    table_VC.grad.add_(1.0)
    before, began = _peak(), time.perf_counter()
    if chunk is None:
        loss = plain_loss(Head(hidden_MC, table_VC), teacher)
    else:
        loss = distillation_loss(
            Head(hidden_MC, table_VC), teacher, None, temperature=1.0, cross_entropy=0.0, chunk=chunk
        )
    loss.backward()
    answer.send((before, _peak(), time.perf_counter() - began, float(loss.detach())))


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_own_process(chunk: int | None, shape: tuple[int, int, int], threads: int) -> dict[str, float]:
    """Figures of one way."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=measure, args=(chunk, shape, threads, sending))
    child.start()
    sending.close()
    try:
        before, after, seconds, loss = receiving.recv()
    finally:
        child.join()
    return {
        "before_mib": round(before / 2**20, 1),
        "peak_mib": round(after / 2**20, 1),
        "added_mib": round((after - before) / 2**20, 1),
        "seconds": round(seconds, 1),
        "loss": loss,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=512)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--vocabulary", type=int, default=202_048)
    parser.add_argument("--chunks", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    given = parser.parse_args()
    shape = (given.positions, given.width, given.vocabulary)
    ways: dict[str, int | None] = {"plain": None} | {f"chunks of {chunk}": chunk for chunk in given.chunks}
    options = f"--positions {given.positions} --width {given.width} --vocabulary {given.vocabulary}"
    result: dict[str, object] = {
        "benchmark": "distillation_memory",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "command": f"python -m benchmarks.distillation_memory {options} --chunks {' '.join(map(str, given.chunks))} "
        f"--threads {given.threads}",
        "logits_mib": round(4 * given.positions * given.vocabulary / 2**20, 1),  # of all positions, float32
        "table_gradient_mib": round(4 * given.width * given.vocabulary / 2**20, 1),  # in each way's `added_mib`
        "ways": {name: in_own_process(chunk, shape, given.threads) for name, chunk in ways.items()},
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
