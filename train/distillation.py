"""The loss of a student that imitates a teacher, without ever holding the logits of all positions.

Head and loss run over `chunk` positions at a time and leave the gradients behind as they go, so that two [chunk, V]
tensors are all that is held (the idea of Liger's fused losses, arXiv 2410.10989, section 3.2). Knows no model: a head
is a last hidden state and a table. What a teacher said may come from a file instead (train/teacher_cache.py).
Shapes: M positions, C model width, V vocabulary, K the teacher's most probable tokens, b positions of a block.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.divergence import blocks, divergence, divergence_of_few, softmax


class Head(NamedTuple):
    """Logits before they are computed: hidden_MC @ weight_VC.T."""

    hidden_MC: Tensor
    weight_VC: Tensor


@dataclass(frozen=True)
class CachedTargets:
    """What a teacher said of M positions, in brief: its K most probable tokens and the mass of all others.

    The probabilities are those of softmax(logits / temperature); the K and the tail sum to 1.
    """

    ids_MK: Tensor  # int32, a token at most once in a row
    log_probs_MK: Tensor
    tail_M: Tensor  # log of the mass of all other tokens; -inf where there are none
    temperature: float = 1.0


def distillation_loss(
    student: Head,
    teacher: Head | CachedTargets | None,
    targets_M: Tensor | None,
    *,
    temperature: float,
    cross_entropy: float,
    chunk: int,
) -> Tensor:
    """The mean over M positions of (1 - c) * T^2 * KL(teacher || student) + c * (cross-entropy of the targets).

    KL compares softmax(logits / T) of both (arXiv 1503.02531, section 2: T^2 keeps the gradient's size); c is
    `cross_entropy`. Against cached targets it is the divergence of K + 1 outcomes, the K tokens and "any other", which
    is never more than the whole one (docs/numerics.md). Under autocast the products run in autocast's type, as those
    of `nn.Linear` would; softmax, loss and the table's gradient are float32 at least. Backward runs once.

    Args:
        teacher: gets no gradient. None where c is 1.
        targets_M: int64 [M], the next tokens. None where c is 0.
        temperature: T, above 0.
        cross_entropy: c, from 0 to 1.
        chunk: positions whose logits are in memory at once.

    Returns:
        A scalar, float32 (float64 where the student is).

    Raises:
        ValueError: shapes that do not belong together, a number out of range, or cached targets of another temperature.
    """
    _check(student, teacher, targets_M, temperature, cross_entropy, chunk)
    if cross_entropy == 1:
        teacher = None
    elif isinstance(teacher, Head):
        teacher = Head(teacher.hidden_MC.detach(), teacher.weight_VC.detach())
    terms = _Terms(teacher, targets_M if cross_entropy else None, temperature, cross_entropy)
    if torch.is_grad_enabled() and (student.hidden_MC.requires_grad or student.weight_VC.requires_grad):
        loss: Tensor = _DistillationLoss.apply(*student, terms, chunk)
        return loss
    return _run(student, terms, chunk, (False, False))[0]


def chunked_cross_entropy(student: Head, targets_M: Tensor, *, chunk: int) -> Tensor:
    """Mean cross-entropy of next tokens in nats, with no more than one [chunk, V] tensor in memory.

    Raises:
        ValueError: as `distillation_loss`.
    """
    return distillation_loss(student, None, targets_M, temperature=1.0, cross_entropy=1.0, chunk=chunk)


@dataclass(frozen=True)
class _Terms:
    """What the student is compared with."""

    teacher: Head | CachedTargets | None
    targets_M: Tensor | None
    temperature: float
    cross_entropy: float

    def rows(self, rows: slice) -> "_Terms":
        teacher = self.teacher
        if isinstance(teacher, CachedTargets):
            teacher = CachedTargets(teacher.ids_MK[rows], teacher.log_probs_MK[rows], teacher.tail_M[rows])
        targets = None if self.targets_M is None else self.targets_M[rows]
        return _Terms(teacher, targets, self.temperature, self.cross_entropy)


class _DistillationLoss(torch.autograd.Function):
    """Computes the gradients in the forward pass, where the logits are; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden_MC: Tensor, weight_VC: Tensor, terms: _Terms, chunk: int) -> Tensor:
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        loss, ctx.gradients = _run(Head(hidden_MC, weight_VC), terms, chunk, wanted)
        ctx.types, ctx.count = (hidden_MC.dtype, weight_VC.dtype), len(hidden_MC)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss were handed out by an earlier backward; compute it anew")
        found, ctx.gradients = ctx.gradients, None
        scale = grads[0] / ctx.count
        # In place: the table's gradient may be a gigabyte.
        scaled = (None if g is None else g.mul_(scale).to(dtype) for g, dtype in zip(found, ctx.types, strict=True))
        return (*scaled, None, None)


def _run(
    student: Head, terms: _Terms, chunk: int, wanted: tuple[bool, bool]
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
    """The mean loss, and the wanted ones of its sum's gradients by hidden state and table."""
    hidden_MC, weight_VC = in_compute_type(student)
    teacher = in_compute_type(terms.teacher) if isinstance(terms.teacher, Head) else None
    count, vocabulary = hidden_MC.shape[0], weight_VC.shape[0]
    wide = torch.promote_types(hidden_MC.dtype, torch.float32)
    d_hidden = torch.empty_like(hidden_MC) if wanted[0] else None
    d_weight = torch.zeros_like(weight_VC, dtype=wide) if wanted[1] else None
    space = hidden_MC.new_empty(min(chunk, count), vocabulary)
    teacher_space = None if teacher is None else torch.empty_like(space)
    total = hidden_MC.new_zeros((), dtype=torch.float64)
    with torch.no_grad(), torch.autocast(hidden_MC.device.type, enabled=False):
        for start in range(0, count, chunk):
            rows = slice(start, min(start + chunk, count))
            inputs_mC = hidden_MC[rows]
            logits_mV = torch.mm(inputs_mC, weight_VC.T, out=space[: len(inputs_mC)])
            teacher_mV = None
            if teacher is not None and teacher_space is not None:
                out = teacher_space[: len(inputs_mC)]
                teacher_mV = torch.mm(teacher.hidden_MC[rows], teacher.weight_VC.T, out=out)
            total += _in_blocks(logits_mV, teacher_mV, terms.rows(rows), any(wanted))
            gradient_mV = logits_mV  # which the blocks have put there
            if d_hidden is not None:
                torch.mm(gradient_mV, weight_VC, out=d_hidden[rows])
            if d_weight is not None and gradient_mV.dtype == wide:
                d_weight.addmm_(gradient_mV.T, inputs_mC)
            elif d_weight is not None:
                d_weight.add_(gradient_mV.T @ inputs_mC)
    return (total / count).to(wide), (d_hidden, d_weight)


def _in_blocks(logits_mV: Tensor, teacher_mV: Tensor | None, terms: _Terms, with_gradient: bool) -> Tensor:
    """The summed loss of a chunk; the logits become its gradient by them."""
    wide = torch.promote_types(logits_mV.dtype, torch.float32)
    total = logits_mV.new_zeros((), dtype=torch.float64)
    for rows in blocks(logits_mV, wide):
        teacher_bV = None if teacher_mV is None else teacher_mV[rows].to(wide)
        loss_b, gradient_bV = _block(logits_mV[rows].to(wide), teacher_bV, terms.rows(rows))
        total += loss_b.sum(dtype=torch.float64)
        if with_gradient:
            logits_mV[rows] = gradient_bV
    return total


def _block(logits_bV: Tensor, teacher_bV: Tensor | None, terms: _Terms) -> tuple[Tensor, Tensor]:
    """The loss of each position [b] and its gradient by the logits [b, V]; spoils the teacher's logits."""
    temperature, share = terms.temperature, terms.cross_entropy
    scaled_bV = logits_bV if temperature == 1 else logits_bV / temperature
    probs_bV, log_sum_b = softmax(scaled_bV)
    loss_b, gradient_bV = torch.zeros_like(log_sum_b), None
    if terms.targets_M is not None:
        first = (probs_bV, log_sum_b) if temperature == 1 else softmax(logits_bV)
        targets_b1 = terms.targets_M.unsqueeze(1)
        loss_b += share * (first[1] - logits_bV.gather(1, targets_b1).squeeze(1))
        gradient_bV = first[0] * share
        gradient_bV.scatter_add_(1, targets_b1, gradient_bV.new_full(targets_b1.shape, -share))
    if terms.teacher is None:
        assert gradient_bV is not None
        return loss_b, gradient_bV
    if isinstance(terms.teacher, CachedTargets):
        few = terms.teacher
        kl_b = divergence_of_few(scaled_bV, probs_bV, log_sum_b, few.ids_MK, few.log_probs_MK, few.tail_M)
    else:
        assert teacher_bV is not None
        kl_b = divergence(scaled_bV, probs_bV, log_sum_b, teacher_bV, temperature)
    loss_b += (1 - share) * temperature**2 * kl_b
    factor = (1 - share) * temperature  # d/dz of T^2 * KL(z / T)
    if gradient_bV is None:
        return loss_b, probs_bV if factor == 1 else probs_bV.mul_(factor)
    return loss_b, gradient_bV.add_(probs_bV, alpha=factor)


def in_compute_type(head: Head) -> Head:
    """Both tensors in the type of the products: autocast's where it is on, else the wider of the two."""
    device = head.hidden_MC.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    else:
        dtype = torch.promote_types(head.hidden_MC.dtype, head.weight_VC.dtype)
    return Head(head.hidden_MC.to(dtype), head.weight_VC.to(dtype))


def _check(
    student: Head,
    teacher: Head | CachedTargets | None,
    targets_M: Tensor | None,
    temperature: float,
    cross_entropy: float,
    chunk: int,
) -> None:
    count = _check_head("student", student)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"the temperature is {temperature}; it must be a finite number above 0")
    if not 0 <= cross_entropy <= 1:
        raise ValueError(f"the cross-entropy share is {cross_entropy}; it must be from 0 to 1")
    if chunk < 1:
        raise ValueError(f"the chunk is {chunk} positions; it must be at least 1")
    if cross_entropy > 0 and (targets_M is None or targets_M.shape != (count,)):
        given = "none" if targets_M is None else str(list(targets_M.shape))
        raise ValueError(f"the student has {count} positions and the targets are {given}; give one for each position")
    if cross_entropy == 1:
        return
    if isinstance(teacher, Head):
        if _check_head("teacher", teacher) != count or teacher.weight_VC.shape[0] != student.weight_VC.shape[0]:
            raise ValueError(
                f"the teacher has {teacher.hidden_MC.shape[0]} positions and {teacher.weight_VC.shape[0]} tokens, the "
                f"student {count} and {student.weight_VC.shape[0]}; both must read the same text with one vocabulary"
            )
    elif teacher is None:
        raise ValueError(f"a cross-entropy share of {cross_entropy} needs a teacher; only a share of 1 does without")
    else:
        _check_cached(teacher, count, temperature)


def _check_head(whose: str, head: Head) -> int:
    hidden, weight = head.hidden_MC.shape, head.weight_VC.shape
    if len(hidden) != 2 or len(weight) != 2 or hidden[1] != weight[1] or not hidden[0]:
        raise ValueError(
            f"the {whose}'s hidden state is {list(hidden)} and its table {list(weight)}; they must be [M, C] and "
            "[V, C] with at least one position"
        )
    return int(hidden[0])


def _check_cached(targets: CachedTargets, count: int, temperature: float) -> None:
    shape = targets.ids_MK.shape
    if len(shape) != 2 or targets.log_probs_MK.shape != shape or targets.tail_M.shape != shape[:1] or shape[0] != count:
        raise ValueError(
            f"cached targets of {list(shape)} ids, {list(targets.log_probs_MK.shape)} log-probabilities and "
            f"{list(targets.tail_M.shape)} tails for {count} positions; they must be [M, K], [M, K] and [M]"
        )
    if targets.temperature != temperature:
        raise ValueError(
            f"the cached targets are of temperature {targets.temperature}, the loss of {temperature}; read them from "
            "the cache at the loss's temperature"
        )
