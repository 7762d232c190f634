"""What a teacher says of a position, in brief: its K most probable tokens, and the mass of all others.

How it is computed from a head, laid out in a file, and read back at a temperature. Knows no folder.
Shapes: M positions, T tokens of a window, C model width, V vocabulary, K kept tokens, N temperatures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.distillation import CachedTargets, Head, in_compute_type
from train.divergence import blocks
from train.token_files import token_type

TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0)  # what a cache keeps unless a run needs another one as well
KEY_BYTES = 16  # of a window's hash

_LEAST_LOG_PROB = -6e4  # float16 ends at -65,504, and a log-probability of -inf has no product with 0


@dataclass(frozen=True)
class Summary:
    """Of M positions: what serves every temperature at which the tails were taken."""

    ids_MK: Tensor  # int32, the most probable first
    log_probs_MK: Tensor  # float32, at temperature 1
    tails_MN: Tensor  # float32: log of the sum of p^(1 / temperature) over the other tokens; -inf without any

    def to(self, device: torch.device) -> "Summary":
        return Summary(self.ids_MK.to(device), self.log_probs_MK.to(device), self.tails_MN.to(device))


def summarize(head: Head, *, top_k: int, temperatures: tuple[float, ...], chunk: int) -> Summary:
    """The summary of a teacher's head, with two [chunk, V] tensors in memory at most.

    Args:
        top_k: K, at most V.

    Raises:
        ValueError: a logit is not finite.
    """
    hidden_MC, table_VC = in_compute_type(head)
    parts = []
    with torch.no_grad(), torch.autocast(hidden_MC.device.type, enabled=False):
        for inputs_mC in hidden_MC.split(chunk):
            logits_mV = inputs_mC @ table_VC.T
            parts += [
                _summarize(logits_mV[rows].float(), top_k, temperatures) for rows in blocks(logits_mV, torch.float32)
            ]
            del logits_mV  # before the next one is made
    ids, log_probs, tails = (torch.cat(column) for column in zip(*parts, strict=True))
    if not bool(torch.isfinite(log_probs).all()):
        raise ValueError("the teacher's logits are not finite, so nobody can learn from them; look at its checkpoint")
    return Summary(ids, log_probs, tails)


def _summarize(logits_bV: Tensor, top_k: int, temperatures: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    log_probs_bV = torch.log_softmax(logits_bV, dim=1)
    log_probs_bK, ids_bK = log_probs_bV.topk(top_k, dim=1)
    log_probs_bV.scatter_(1, ids_bK, -torch.inf)
    tails = [torch.logsumexp(log_probs_bV if t == 1 else log_probs_bV / t, dim=1) for t in temperatures]
    return ids_bK.int(), log_probs_bK.clamp_(min=_LEAST_LOG_PROB), torch.stack(tails, dim=1)


def at_temperature(summary: Summary, temperature: float, temperatures: tuple[float, ...]) -> CachedTargets:
    """The targets at one of the `temperatures` that the summary was made with.

    p^(1 / T) of the K tokens follows from their p; the sum of the others' does not follow from the sum of their p,
    so it was taken for each temperature. Both together are normed to 1 again, which rounding had moved.
    """
    log_probs_MK = summary.log_probs_MK.float() / temperature
    tail_M = summary.tails_MN[:, temperatures.index(temperature)]
    log_sum_M = torch.logaddexp(torch.logsumexp(log_probs_MK, dim=1), tail_M)
    return CachedTargets(
        summary.ids_MK, log_probs_MK - log_sum_M.unsqueeze(1), tail_M - log_sum_M, temperature=temperature
    )


def record_type(*, window: int, top_k: int, num_temperatures: int, vocab_size: int) -> np.dtype[Any]:
    """One window in a file: its hash, and for each of its T positions ids, log-probabilities and tails.

    Log-probabilities are float16: what that changes is far below what the tail leaves out (docs/numerics.md).
    """
    return np.dtype(
        [
            ("key", "u1", (KEY_BYTES,)),
            ("ids", token_type(vocab_size), (window, top_k)),
            ("log_probs", "<f2", (window, top_k)),
            ("tails", "<f4", (window, num_temperatures)),
        ]
    )


def write_records(summary: Summary, records: np.ndarray[Any, Any]) -> None:
    """Puts the summary of whole windows, one after the other, into records [windows] of `record_type`."""
    for name, tensor in (
        ("ids", summary.ids_MK),
        ("log_probs", summary.log_probs_MK),
        ("tails", summary.tails_MN),
    ):
        records[name] = tensor.cpu().numpy().reshape(records[name].shape)


def read_records(records: list[np.ndarray[Any, Any]]) -> Summary:
    """The summary of pieces of files, each some windows, one after the other."""

    def joined(name: str, dtype: type[np.generic]) -> Tensor:
        parts = [piece[name].astype(dtype).reshape(-1, piece[name].shape[-1]) for piece in records]
        return torch.from_numpy(np.concatenate(parts))

    return Summary(joined("ids", np.int32), joined("log_probs", np.float32), joined("tails", np.float32))
