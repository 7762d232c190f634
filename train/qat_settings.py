"""The settings of quantization-aware training: the fake quantization, and what is learnt under it. Loads no torch."""

from dataclasses import dataclass

from quant.recipe import check_group_size, find_recipe, read_overrides
from train.bounds import at_least, number


@dataclass(frozen=True, kw_only=True)
class QatSettings:
    """Which fake quantization the model is trained under.

    Raises:
        ValueError: an unknown recipe, an impossible group size, or a bad override.
    """

    recipe: str = "8da4w-g32"
    group_size: int | None = None  # none: the recipe's
    overrides: tuple[str, ...] = ()  # "PATTERN=SCHEME", as `pocketlm quantize --override` takes them
    start: str | None = None  # a quantized checkpoint of the model: its codes and scales are where training begins
    learn_ranges: bool = False  # every scale is a parameter of its own, in place of the weights' absmax
    range_lr: float = 1e-3  # of the scales' logarithms, when optimizer.lr is reached; it follows its schedule

    def __post_init__(self) -> None:
        recipe = find_recipe(self.recipe)
        if recipe.weights == "float":
            raise ValueError('qat.recipe is "float", which quantizes nothing; use objective = "next-token"')
        if self.group_size is not None:
            check_group_size(self.group_size)
        read_overrides(self.overrides)
        number("qat.range_lr", self.range_lr)
        if self.start is not None and not self.learn_ranges:
            raise ValueError("qat.start brings scales of its own, which only qat.learn_ranges = true keeps; set it")


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """What the model under fake quantization learns from.

    The loss is (1 - cross_entropy) * temperature^2 * KL(teacher || student) + cross_entropy * next-token loss (Hinton
    et al., arXiv 1503.02531).

    Raises:
        ValueError: a number out of range.
    """

    teacher: str | None = None  # a float checkpoint's folder; none: the model itself, before fake quantization
    temperature: float = 1.0
    cross_entropy: float = 0.0  # share of the next-token loss; 1 needs no teacher
    chunk: int = 256  # positions whose logits are in memory at once
    cache: str | None = None  # a folder that keeps the teacher's targets for several runs; none: it runs beside
    top_k: int = 64  # of a position's targets that the cache keeps, beside the mass of all others

    def __post_init__(self) -> None:
        number("distill.temperature", self.temperature, above=0.0)
        number("distill.cross_entropy", self.cross_entropy)
        if self.cross_entropy > 1.0:
            raise ValueError(f"distill.cross_entropy is {self.cross_entropy}; it is a share, at most 1")
        at_least("distill.chunk", self.chunk, 1)
        at_least("distill.top_k", self.top_k, 1)
        if self.cross_entropy == 1.0 and (self.teacher is not None or self.cache is not None):
            raise ValueError("distill.cross_entropy = 1 needs no teacher; leave out distill.teacher and distill.cache")
