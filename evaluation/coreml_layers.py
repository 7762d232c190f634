"""The weight matrices of a CoreML package under the checkpoint's names, rows back in the checkpoint's order.

Shapes: N rows, K columns, S scales a row.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.coreml.row_order import row_order
from export.coreml_integers import gather_parts, linear_parts
from export.coreml_weights import CoremlWeight, read_coreml_constants
from export.mil.container import open_coreml
from model.config import ModelConfig
from quant.recipe import SchemeName

Rows = Callable[[slice], Tensor]


def read_coreml_layers(program: Path, config: ModelConfig) -> list[tuple[str, SchemeName, Callable[[], Rows]]]:
    """Name and scheme of each layer, and what opens it: a function from some rows to float32 weights [rows, K].

    A tied table stands once, as the table.

    Raises:
        ValueError: the program is damaged, or has other matrices than the configuration.
    """
    found = read_coreml_constants(open_coreml(program).methods["forward"])
    parts, uses = [*gather_parts(config), *linear_parts(config)], [*found.gathers, *found.linears]
    if len(parts) != len(uses):
        raise ValueError(f"{program} uses {len(uses)} matrices, its manifest's model has {len(parts)}; export it again")
    chunks: dict[str, list[CoremlWeight]] = {}
    for part, use in zip(parts, uses, strict=True):
        if part.layer != "head" or not config.tied:
            chunks.setdefault(part.layer, []).append(use)
    return [(name, own[0].kind, _opener(own, row_order(config, name))) for name, own in chunks.items()]


def _opener(chunks: Sequence[CoremlWeight], order: list[int] | None) -> Callable[[], Rows]:
    def open_layer() -> Rows:
        codes_NK = torch.from_numpy(np.concatenate([chunk.codes() for chunk in chunks]))
        scales_NS = torch.from_numpy(np.concatenate([chunk.scales() for chunk in chunks]).astype(np.float32))
        if order is not None:
            back = torch.tensor(order).argsort()
            codes_NK, scales_NS = codes_NK[back], scales_NS[back]

        def rows(part: slice) -> Tensor:
            scales = scales_NS[part]
            return (codes_NK[part].float().unflatten(-1, (scales.shape[1], -1)) * scales.unsqueeze(-1)).flatten(-2)

        return rows

    return open_layer
