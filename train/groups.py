"""Which parameters learn at which rate and decay."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from quant.fake_quant import is_range
from train.settings import RunSettings

_TABLES = ("embedding.weight", "head.weight")


def parameter_groups(settings: RunSettings, parameters: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
    """The optimizer's groups; `rate` is each one's share of the learning rate."""
    optimizer = settings.optimizer
    decay, rates = optimizer.weight_decay, {"table": optimizer.table_rate, "norm": optimizer.norm_rate}
    if settings.qat is not None:
        rates["range"] = settings.qat.range_lr / optimizer.lr
    kinds: dict[str, list[nn.Parameter]] = {"matrix": [], "table": [], "norm": [], "range": []}
    for name, parameter in parameters.items():
        if is_range(name):
            kind = "range"
        elif parameter.dim() <= 1:
            kind = "norm"
        else:
            kind = "table" if name in _TABLES else "matrix"
        kinds[kind].append(parameter)
    return [
        {
            "params": found,
            "weight_decay": decay if kind in ("matrix", "table") else 0.0,
            "rate": rates.get(kind, 1.0),
        }
        for kind, found in kinds.items()
        if found
    ]
