"""The learning rate at each step: a linear warm-up, then a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""

import math

from train.settings import OptimizerSettings


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """The rate of a step, counted from 1: `lr` at the end of the warm-up, `min_lr` at the last step."""
    if step <= settings.warmup_steps:
        return settings.lr * step / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return settings.min_lr + 0.5 * (settings.lr - settings.min_lr) * (1.0 + math.cos(math.pi * progress))
