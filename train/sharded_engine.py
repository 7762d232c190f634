"""The engine of one process among several: weights, gradients and moments are sharded over all of them (FSDP2).

Every process computes its rows of each micro batch; a layer's weights are whole only while the layer computes, those
of the tables from the first layer to the loss. The sums are those of one process but for their order.
Shapes: B sequences, T tokens of a window.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from model.transformer import Transformer
from train.engine import Engine, start
from train.objective import Objective, SelfDistillation
from train.settings import RunSettings
from train.sharded_state import read_into
from train.team import Team


class ShardedEngine(Engine):
    """Trains one model on the devices of a team.

    Args:
        prepare: what the first process does with the objective before the others begin with theirs.

    Raises:
        ValueError: a micro batch has fewer windows than there are processes.
    """

    def __init__(
        self,
        settings: RunSettings,
        device: torch.device,
        *,
        base: Path = Path(),
        team: Team,
        prepare: Callable[[Objective], None] | None = None,
    ) -> None:
        _check_rows(settings, team)
        self._team, self._prepare = team, prepare
        super().__init__(settings, device, base=base)

    def _start(self, base: Path) -> tuple[Transformer, Objective]:
        def begin() -> tuple[Transformer, Objective]:
            model, objective = start(self.settings, base)
            if self._team.is_first and self._prepare is not None:
                objective.to(self.device)
                self._prepare(objective)
            return model, objective

        return self._team.first_then_others(begin)

    def _place(self) -> None:
        """Shards the models over the devices, a layer at a time, so that no device ever holds a whole one."""
        teacher = self.objective.teacher if isinstance(self.objective, SelfDistillation) else None
        self._whole = _Computation(self.model, self.objective, teacher)
        mesh = init_device_mesh(self.device.type, (self._team.size,))
        for model in self._whole.models():
            for layer in model.layers:
                fully_shard(layer, mesh=mesh)
        fully_shard(self._whole, mesh=mesh)
        for module in self._sharded():  # each process brings its share of a mean, so gradients are summed
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)

    def _sharded(self) -> list[FSDPModule]:
        return [module for module in self._whole.modules() if isinstance(module, FSDPModule)]

    def loss(self, batch: Tensor) -> Tensor:
        """This process's share of the loss of a batch int64 [B, T + 1]; the shares of all sum to it."""
        rows, share = self._rows(batch)
        with self._precision():
            loss: Tensor = self._whole(rows, is_loss=True)
        return loss * share

    def figures(self, batch: Tensor) -> dict[str, float]:
        rows, share = self._rows(batch)
        found = self._whole(rows.to(self.device), is_loss=False)
        return {name: self._team.sum(float(value) * share) for name, value in found.items()}

    def _rows(self, batch: Tensor) -> tuple[Tensor, float]:
        """This process's rows, and their share of the batch; a process without any computes one for nothing."""
        team, count = self._team, len(batch)
        rows = batch[count * team.rank // team.size : count * (team.rank + 1) // team.size]
        return (rows, len(rows) / count) if len(rows) else (batch[:1], 0.0)

    def _sum(self, share: float) -> float:
        return self._team.sum(share)

    def _clip(self) -> float:
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.optimizer.clip)
        return float(_whole(norm))

    def _precision(self) -> torch.autocast:
        is_half = self.settings.train.precision == "bfloat16"
        # Autocast's cache would keep every layer's weights in bfloat16 after they have been given back.
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_half, cache_enabled=False)

    def is_finite(self) -> bool:
        bad = sum(not bool(torch.isfinite(_local(p)).all()) for p in self.parameters.values())
        return self._team.sum(float(bad)) == 0.0

    @contextlib.contextmanager
    def whole_model(self) -> Iterator[Transformer]:
        """The model with whole weights on every device, for the time of the block."""
        modules: list[Any] = [*self.model.layers, self._whole]
        for module in modules:
            module.unshard()
        try:
            yield self.model
        finally:
            for module in modules:
                module.reshard()

    def restore_from(self, folder: Path) -> None:
        """Takes up the state in a folder, of however many processes it is.

        Raises:
            ValueError: the state is of another model.
        """
        for p in self.parameters.values():
            self.optimizer.state[p] = {
                "exp_avg": torch.zeros_like(p.detach()),
                "exp_avg_sq": torch.zeros_like(p.detach()),
                "step": torch.zeros((), device=self.device),
            }
        tensors = self.tensors()
        read_into(folder, tensors)
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)


class _Computation(nn.Module):
    """Models and loss in one forward, so that the tables are whole from the first layer to the loss."""

    def __init__(self, model: Transformer, objective: Objective, teacher: Transformer | None) -> None:
        super().__init__()
        self.model, self.objective, self.teacher = model, objective, teacher

    def models(self) -> list[Transformer]:
        return [model for model in (self.model, self.teacher) if model is not None]

    def train(self, mode: bool = True) -> "_Computation":
        self.model.train(mode)  # the teacher stays as it is
        return self

    def forward(self, batch: Tensor, *, is_loss: bool) -> Tensor | dict[str, Tensor]:
        if is_loss:
            return self.objective.loss(self.model, batch)
        return self.objective.figures(self.model, batch)


def _check_rows(settings: RunSettings, team: Team) -> None:
    loop = settings.train
    rows = min(loop.micro_batch // window for window in loop.windows)
    if rows < team.size:
        raise ValueError(
            f"a micro batch of {loop.micro_batch} tokens has {rows} windows for {team.size} processes; raise "
            "train.micro_batch_tokens, or start fewer processes"
        )


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
