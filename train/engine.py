"""The model and its optimizer: one step, one evaluation, and all of it as named tensors for the state on disk.

Shapes: B sequences, T tokens of a window, C model width, V vocabulary.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.checkpoint import load_model
from model.config import ModelConfig
from model.transformer import Transformer
from train.groups import parameter_groups
from train.objective import NextToken, Objective, start_qat
from train.schedule import learning_rate
from train.settings import RunSettings
from train.state import read_tensors
from train.team import Team

_INIT_STD = 0.02  # Llama's `initializer_range`
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def new_model(config: ModelConfig, *, seed: int) -> Transformer:
    """A model with seeded weights: matrices normal with deviation 0.02, norms 1.

    The projections that write into the residual stream are divided by sqrt(2 * layers) (GPT-2, section 2.3).
    """
    with torch.device("meta"):
        model = Transformer(config)
    model.to_empty(device="cpu")
    if config.tied:
        model.head.weight = model.embedding.weight
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
                continue
            is_last = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = _INIT_STD / math.sqrt(2 * config.num_layers) if is_last else _INIT_STD
            parameter.normal_(std=std, generator=generator)
    return model


def start(settings: RunSettings, base: Path) -> tuple[Transformer, Objective]:
    """The model before the first step, on the CPU, and what it is trained for.

    Args:
        base: what relative paths of the settings start from.

    Raises:
        ValueError: a checkpoint to begin with, or a teacher, that cannot be read or does not fit.
    """
    if settings.objective == "qat":
        return start_qat(settings, base)
    if settings.model.checkpoint is not None:
        return load_model(base / settings.model.checkpoint), NextToken()
    return new_model(settings.model.shape, seed=settings.train.seed), NextToken()


def recompute_layers(model: Transformer) -> None:
    """Lets a backward pass compute each layer's forward again, in place of keeping what is inside it.

    The gradients are the same to the bit where the forward is (arXiv 1604.06174); a step costs one more forward.
    """
    for layer in model.layers:
        layer.forward = functools.partial(_recomputed, layer.forward)


def _recomputed(forward: Callable[..., Tensor], *inputs: Any) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    made: Tensor = checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)
    return made


def find_device(name: str, team: Team | None = None) -> torch.device:
    """The device that a run file names; of several processes on a machine each has its own GPU.

    Raises:
        ValueError: cuda, where there is none, or fewer than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError('train.device is "cuda" and torch finds no GPU here; set it to "cpu" or "auto"')
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if team is None or team.size == 1:
        return torch.device("cuda")
    if team.local_size > torch.cuda.device_count():
        raise ValueError(
            f"{team.local_size} processes were started and torch finds {torch.cuda.device_count()} GPUs here; start as "
            "many as there are"
        )
    torch.cuda.set_device(team.local_rank)
    return torch.device("cuda", team.local_rank)


@contextlib.contextmanager
def deterministic(device: torch.device, threads: int) -> Iterator[int]:
    """Makes a run repeat bit for bit on a CPU with the same number of threads, which it yields.

    What it sets is torch's for the whole process, the random numbers too; all of it is set back at the end.

    Args:
        threads: of the CPU; 0: as many as this process may use.
    """
    memory: Any = torch.utils.deterministic
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    torch.set_num_threads(threads or num_cpus())
    torch.use_deterministic_algorithms(device.type == "cpu")
    memory.fill_uninitialized_memory = False  # it finds faults of operators, at a price
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        memory.fill_uninitialized_memory = before[2]


def num_cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Engine:
    """Trains one model with AdamW (fused)."""

    def __init__(self, settings: RunSettings, device: torch.device, *, base: Path = Path()) -> None:
        self.settings, self.device = settings, device
        torch.manual_seed(settings.train.seed)
        self.model, self.objective = self._start(base)
        if settings.train.activation_checkpointing:
            recompute_layers(self.model)
        self._place()
        self.parameters = dict(self.model.named_parameters())  # a tied table comes once
        optimizer = settings.optimizer
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.settings, self.parameters),
            lr=optimizer.lr,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.eps,
            fused=True,
        )

    def _start(self, base: Path) -> tuple[Transformer, Objective]:
        return start(self.settings, base)

    def _place(self) -> None:
        """Puts model and objective where they compute."""
        self.model.to(self.device)
        self.objective.to(self.device)

    def step(self, batch: Tensor, step: int) -> dict[str, float]:
        """One step of the optimizer.

        Args:
            batch: int64 [B, T + 1]; [:, :-1] predict [:, 1:].
            step: counted from 1.

        Returns:
            loss in nats a token, lr, and grad_norm before clipping.

        Raises:
            FloatingPointError: loss or gradient are not finite; the weights have not been changed.
        """
        loop, optimizer = self.settings.train, self.settings.optimizer
        pieces = batch.split(loop.micro_batch // (batch.shape[1] - 1))
        loss = 0.0
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        for piece in pieces:
            share = self.loss(piece.to(self.device)) / len(pieces)
            loss += self._sum(float(share.detach()))
            if not math.isfinite(loss):
                raise FloatingPointError("the loss is not finite")
            share.backward()
        norm = self._clip()
        if not math.isfinite(norm):
            raise FloatingPointError("the gradient is not finite")
        rate = learning_rate(optimizer, step, loop.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self.optimizer.step()
        return {"loss": loss, "lr": rate, "grad_norm": norm}

    def loss(self, batch: Tensor) -> Tensor:
        """The objective's loss, a mean over positions; batch int64 [B, T + 1]."""
        with self._precision():
            return self.objective.loss(self.model, batch)

    def figures(self, batch: Tensor) -> dict[str, float]:
        """What an evaluation prints of a batch int64 [B, T + 1], each a mean over positions."""
        found = self.objective.figures(self.model, batch.to(self.device))
        return {name: float(value) for name, value in found.items()}

    def _sum(self, share: float) -> float:
        """The loss of all processes, of which this one has computed a share."""
        return share

    def _clip(self) -> float:
        """Scales the gradient down to its bound; returns its 2-norm before."""
        return float(nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.optimizer.clip))

    def evaluate(self, batches: Iterable[Tensor]) -> tuple[dict[str, float], int]:
        """The objective's figures over batches of int64 [B, T + 1] without a gradient, and the tokens scored."""
        totals: dict[str, float] = {}
        tokens = 0
        self.model.eval()
        with torch.no_grad(), self._precision():
            for batch in batches:
                count = batch[:, 1:].numel()
                for name, value in self.figures(batch).items():
                    totals[name] = totals.get(name, 0.0) + value * count
                tokens += count
        return {name: total / tokens for name, total in totals.items()}, tokens

    def _precision(self) -> torch.autocast:
        is_half = self.settings.train.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_half)

    def is_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.parameters.values())

    def tensors(self) -> dict[str, Tensor]:
        """Weights, moments and random numbers by name."""
        state: dict[str, Tensor] = {f"model.{name}": p for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            state |= {f"adam.{moment}.{name}": self.optimizer.state[p][moment] for moment in _MOMENTS}
        state["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore_from(self, folder: Path) -> None:
        """Takes up a state on disk, of however many processes it is.

        Raises:
            ValueError: the state is of another model.
        """
        self.restore(read_tensors(folder))

    @contextlib.contextmanager
    def whole_model(self) -> Iterator[Transformer]:
        """The model with all its weights here, for the time of the block."""
        yield self.model

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes up what `tensors` gave.

        Raises:
            ValueError: the state is of another model.
        """
        expected = {f"model.{name}": tuple(p.shape) for name, p in self.parameters.items()}
        found = {name: tuple(t.shape) for name, t in tensors.items() if name.startswith("model.")}
        if found != expected:
            raise ValueError("the state on disk is of another model; start this run in another output folder")
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(tensors[f"model.{name}"])
                self.optimizer.state[p] = {
                    moment: tensors[f"adam.{moment}.{name}"].to(self.device, copy=True) for moment in _MOMENTS
                }
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
