"""What was executed of a CoreML program and how near it came to the eager model: data, and its words for people."""

from dataclasses import asdict, dataclass
from typing import Any

from chat.static_kv import MASKED

_SHOWN_PEAKS = 3
_NEAR_MASK = 1000.0  # scores that a mask was added to lie so near to its number


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Both runs of one file over the same tokens, in the order of `calls`. Errors are absolute, of logits."""

    calls: int
    methods: dict[str, int]  # calls of each method
    tokens: int  # positions 0 to this, without it
    wrapped: tuple[int, ...]  # rings of so many slots were overwritten
    not_wrapped: tuple[int, ...]  # rings that would be, later
    floats: str  # the program's own type
    scale: float  # the largest logit of the eager model, at least 1
    error_fp32: float  # of the file in float32
    bound_fp32: float
    error_fp16: float  # of the file in simulated float16
    noise_fp16: float  # of the eager model when every result is rounded to float16
    compared: int  # calls whose best logit leads by more than twice that noise
    equal: int  # of them: first choices that are the eager model's; all must be
    golden: int | None  # ids of the golden prompt that were repeated in simulated float16; None: not run
    peak: float  # the largest magnitude of any result, in float32
    peak_operation: str
    peaks: dict[str, float]  # of each operation, "method/operation"

    def to_json(self) -> dict[str, Any]:
        lists = {"wrapped": list(self.wrapped), "not_wrapped": list(self.not_wrapped)}
        return asdict(self) | lists | {"peaks": {name: float(f"{peak:.4g}") for name, peak in self.peaks.items()}}

    def lines(self) -> list[str]:
        """What was run and what came out."""
        methods = " and ".join(f"{count} x {name}" for name, count in self.methods.items())
        rings = f", past the end of the rings of {_join(self.wrapped)} slots" if self.wrapped else ""
        own = [item for item in self.peaks.items() if abs(item[1] + MASKED) > _NEAR_MASK]
        worst = sorted(own, key=lambda item: -item[1])[:_SHOWN_PEAKS]
        lines = [
            f"  {methods}, {self.tokens:,} tokens{rings}, against the eager model without a cache",
            f"  float32: logits within {self.error_fp32:.2g} (bound {self.bound_fp32:.2g}, scale {self.scale:.3g})",
            f"  simulated float16: within {self.error_fp16:.2g}; the eager model moves by {self.noise_fp16:.2g} when "
            f"rounded; {self.compared} of {self.calls} first choices lead by more than twice that, and {self.equal} of "
            "them are equal",
            "  largest magnitudes (float16 ends at 65,504; masked scores aside): "
            + ", ".join(f"{peak:,.4g} ({name})" for name, peak in worst),
        ]
        if self.golden is not None:
            lines.append(f"  the golden prompt: {self.golden} ids repeated in simulated float16")
        return lines

    def not_executed(self) -> list[str]:
        """What these calls leave open."""
        lines = []
        if self.not_wrapped:
            lines.append(f"execution past the end of the rings of {_join(self.not_wrapped)} slots (--steps runs more)")
        if self.golden is None:
            lines.append("the manifest's golden prompt: not run again for so large a model, or for so few steps")
        return lines


def _join(numbers: tuple[int, ...]) -> str:
    return " and ".join(f"{number:,}" for number in numbers)
