"""The modules that are lowered, run by torch as they are: what the converter is to keep, without a converter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.checkpoint_weights import open_weights
from export.coreml.decoder import Constants, Decoder
from export.coreml.stateful import StatefulProgram
from export.coreml.static import StaticProgram
from export.manifest import Manifest
from export.static_constants import is_coreml
from model.transformer import Transformer
from quant.integers import QuantizedTensor

Array = np.ndarray[Any, Any]


def reference_model(checkpoint: Path) -> Transformer:
    """The eager float model of a quantized checkpoint as float16 keeps it: code times float16(scale), norms rounded."""
    weights = open_weights(checkpoint)
    state: dict[str, Tensor] = {f"{name}.weight": norm.half().float() for name, norm in weights.norms()}
    for name, load in weights.layers():
        tensor = load() if callable(load) else load
        assert isinstance(tensor, QuantizedTensor)
        codes = tensor.codes.view(len(tensor.codes), tensor.scales.shape[1], -1).float()
        state[f"{name}.weight"] = (codes * tensor.scales.half().float().unsqueeze(-1)).flatten(1)
    model = Transformer(weights.info.config)
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


class EagerCoreml:
    """`export.static_runner.StatefulExecutor` over a checkpoint's own modules in one dtype."""

    def __init__(self, checkpoint: Path, manifest: Manifest, dtype: torch.dtype = torch.float32) -> None:
        assert is_coreml(manifest)
        decoder = Decoder(Constants(open_weights(checkpoint), dtype))
        self.dtype, self.methods = dtype, manifest.methods
        self.modules: dict[str, torch.nn.Module] = {}
        for name, method in manifest.methods.items():
            if manifest.runner.kind == "static-kv":
                self.modules[name] = StaticProgram(decoder, method)
            else:
                self.modules[name] = StatefulProgram(decoder, manifest.cache.layers, manifest.context.tokens, dtype)

    @torch.inference_mode()
    def execute(self, method: str, inputs: Sequence[Array], /) -> list[Array]:
        given = {
            spec.name: self._tensor(array) for spec, array in zip(self.methods[method].inputs, inputs, strict=True)
        }
        found = self.modules[method](**given)
        return [tensor.numpy() for tensor in (found if isinstance(found, tuple) else (found,))]

    def reset_state(self) -> None:
        for name, buffer in self.modules["forward"].named_buffers():
            if "_cache_" in name:
                buffer.zero_()

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(np.array(array))
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor
