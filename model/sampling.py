"""From logits to the next token id: greedy, temperature, nucleus; the same ids for the same seed."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Sampler:
    """Picks ids one at a time; holds the random state.

    Args:
        temperature: 0 is greedy.
        top_p: keep the smallest set of ids whose probability reaches it (Holtzman et al., arXiv 1904.09751).
        seed: None draws one from the system.

    Raises:
        ValueError: a negative temperature, a top_p outside (0, 1], or a seed that is no integer from 0 to 2**63 - 1.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    _generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must lie in (0, 1]")
        if self.seed is not None and (type(self.seed) is not int or not 0 <= self.seed < 2**63):
            raise ValueError(f"seed is {self.seed!r}; it must be an integer from 0 to 2**63 - 1")
        self._generator = torch.Generator()
        if self.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self.seed)

    def pick(self, logits_V: Tensor) -> int:
        """The next id from one position's logits [V].

        Raises:
            ValueError: a logit is NaN, or all are infinite: the model's numbers have overflowed.
        """
        largest = logits_V.max().to(torch.float64)
        if not torch.isfinite(largest):  # the maximum is NaN when any logit is
            raise ValueError(
                f"the model's largest logit is {float(largest)}: its numbers have overflowed; check the "
                "checkpoint's weights"
            )
        if self.temperature == 0:
            return int(logits_V.argmax())
        scaled = (logits_V.to(torch.float64) - largest) / self.temperature  # at most 0: no temperature overflows it
        probs, ids = torch.softmax(scaled, -1).sort(descending=True, stable=True)
        before = probs.cumsum(-1) - probs
        probs = torch.where(before < self.top_p, probs, 0.0)
        return int(ids[torch.multinomial(probs, 1, generator=self._generator)])
