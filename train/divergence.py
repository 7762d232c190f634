"""KL divergence of a few positions from their logits, with its gradient, in few passes and few exponentials.

Tensors in and out; what is not needed again is overwritten.
Shapes: b positions, V vocabulary, K the teacher's most probable tokens.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# What rows are gone through at a time: on a CPU what its second cache holds, on a GPU enough to keep it busy.
_BLOCK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 26}


def blocks(logits_mV: Tensor, dtype: torch.dtype) -> Iterator[slice]:
    """Rows in pieces that fit a cache once they are of `dtype`."""
    size = max(1, _BLOCK_BYTES[logits_mV.device.type] // (logits_mV.shape[1] * dtype.itemsize))
    for start in range(0, len(logits_mV), size):
        yield slice(start, min(start + size, len(logits_mV)))


def softmax(logits_bV: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities, and the log of the sum of exp(logits) [b], with one exponential an entry."""
    probs_bV = torch.softmax(logits_bV, dim=1)
    # The largest probability is exp(0) divided by the sum of exp(logits - largest logit).
    return probs_bV, logits_bV.amax(1) - probs_bV.amax(1).log()


def divergence(
    logits_bV: Tensor, probs_bV: Tensor, log_sum_b: Tensor, teacher_bV: Tensor, temperature: float
) -> Tensor:
    """KL(teacher || student) [b]. `probs_bV` becomes its gradient by the student's logits.

    Args:
        logits_bV: the student's, divided by the temperature; probs_bV, log_sum_b: their `softmax`.
        teacher_bV: the teacher's logits, not yet divided; spoiled.
    """
    if temperature != 1:
        teacher_bV.div_(temperature)
    target_bV, teacher_log_sum_b = softmax(teacher_bV)
    probs_bV.sub_(target_bV)
    return teacher_bV.sub_(logits_bV).mul_(target_bV).sum(1) - teacher_log_sum_b + log_sum_b


def divergence_of_few(
    logits_bV: Tensor, probs_bV: Tensor, log_sum_b: Tensor, ids_bK: Tensor, log_target_bK: Tensor, log_tail_b: Tensor
) -> Tensor:
    """The same over K + 1 outcomes: the K tokens, and all others as one, whose teacher's probabilities sum to 1.

    Args:
        log_tail_b: -inf where the teacher gives the others nothing; they then count nothing.
    """
    ids_bK = ids_bK.long()
    log_target_bK, log_tail_b = log_target_bK.to(probs_bV.dtype), log_tail_b.to(probs_bV.dtype)
    target_bK, tail_b = log_target_bK.exp(), log_tail_b.exp()
    own_bK = probs_bV.gather(1, ids_bK)
    probs_bV.scatter_(1, ids_bK, 0.0)
    # A sum, since 1 minus the rest would round a small tail away. No student's tail counts as less than `tiny`.
    own_tail_b = probs_bV.sum(1).clamp_(min=torch.finfo(probs_bV.dtype).tiny)
    probs_bV.mul_((1 - tail_b / own_tail_b).unsqueeze(1)).scatter_(1, ids_bK, own_bK - target_bK)
    log_own_bK = logits_bV.gather(1, ids_bK) - log_sum_b.unsqueeze(1)
    kl_b = (target_bK * (log_target_bK - log_own_bK)).sum(1)
    return kl_b + torch.where(tail_b > 0, tail_b * (log_tail_b - own_tail_b.log()), 0.0)
