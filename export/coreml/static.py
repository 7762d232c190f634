"""The static program: caches are inputs, new keys and values are outputs, and the host writes the rings.

Shapes: T tokens, S slots of a ring, G key-value heads, D head width. The contract is export/static_layout.py.
"""

import torch
from torch import Tensor, nn

from export.coreml.decoder import Decoder, Rows, attention
from export.manifest_parts import Method

_DTYPES = {"int32": torch.int32, "int64": torch.int64, "float16": torch.float16}


class StaticProgram(nn.Module):
    """One method: its inputs and outputs are `method`'s, in their order."""

    def __init__(self, decoder: Decoder, method: Method) -> None:
        super().__init__()
        self.decoder, self.method = decoder, method

    def forward(self, **given: Tensor) -> tuple[Tensor, ...]:
        config = self.decoder.config
        new: list[Tensor] = []

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            new.extend((k, v))
            keys = torch.cat((given[f"k_cache_{layer}"], k), dim=2)
            values = torch.cat((given[f"v_cache_{layer}"], v), dim=2)
            return attention(q, keys, values, given["mask_global" if config.is_global(layer) else "mask_local"])

        temperature = given.get("temperature")
        rows = Rows(
            cos=given["cos"].unsqueeze(1),
            sin=given["sin"].unsqueeze(1),
            temperature=None if temperature is None else temperature.unsqueeze(1),
        )
        return (*self.decoder.run(given["tokens"].view(-1), rows, attend, given["last"]), *new)


def example_inputs(method: Method, dtype: torch.dtype) -> dict[str, Tensor]:
    """Zeros of the method's shapes in calling order; its float16 tensors have `dtype`."""
    types = _DTYPES | {"float16": dtype}
    return {tensor.name: torch.zeros(tensor.shape, dtype=types[tensor.dtype]) for tensor in method.inputs}
