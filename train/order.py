"""The order in which a run sees its text: a pure function of seed and step, so that there is nothing to save.

Each epoch cuts the stream into windows from an offset of its own and goes through them in an order of its own. What
the offset cuts off at the two ends is less than two windows.
Shapes: B sequences of a batch, T tokens of a window.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from train.settings import LoopSettings

Window = Callable[[int, int], Tensor]  # start, length -> int64 [length]


class DataOrder:
    """Batches of one token stream.

    Args:
        tokens: in the stream.
        window: reads a piece of the stream.

    Raises:
        ValueError: the stream is shorter than a window.
    """

    def __init__(self, settings: LoopSettings, *, tokens: int, window: Window) -> None:
        need = max(settings.windows) + 1
        if tokens < need:
            raise ValueError(
                f"the training text has {tokens:,} tokens and a window needs {need:,} (one more than it predicts); "
                "lower train.window and train.final_window, or give more text"
            )
        self._settings, self._tokens, self._window = settings, tokens, window
        self._epoch: tuple[tuple[int, int], int, np.ndarray] | None = None

    def batch(self, step: int) -> Tensor:
        """Inputs and targets of a step, counted from 1: int64 [B, T + 1], of which [:, :-1] predict [:, 1:]."""
        length = self._settings.window_of(step)
        per_step = self._settings.batch_tokens // length
        is_final = self._settings.final_window is not None and step > self._settings.steps - self._settings.final_steps
        first = self._settings.steps - self._settings.final_steps if is_final else 0
        sequences = range((step - 1 - first) * per_step, (step - first) * per_step)
        starts = [self._start(int(is_final), i, length) for i in sequences]
        return torch.stack([self._window(start, length + 1) for start in starts])

    def _start(self, phase: int, sequence: int, length: int) -> int:
        # With any offset below a window there are this many whole windows, and one token more for the last target.
        windows = max(1, (self._tokens - 1) // length - 1)
        epoch, place = divmod(sequence, windows)
        offset, order = self._epoch_order(phase, epoch, windows, length)
        return offset + int(order[place]) * length

    def _epoch_order(self, phase: int, epoch: int, windows: int, length: int) -> tuple[int, np.ndarray]:
        key = (phase, epoch)
        if self._epoch is None or self._epoch[0] != key:
            # RandomState's numbers are frozen for ever (NEP 19), those of newer generators are not.
            random = np.random.RandomState([self._settings.seed % 2**32, phase, epoch])
            offset = int(random.randint(0, min(length, self._tokens - windows * length)))
            self._epoch = (key, offset, random.permutation(windows))
        return self._epoch[1], self._epoch[2]
