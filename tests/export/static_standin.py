"""A stand-in for a static-kv program: the eager model run from the program's inputs alone, and manifests for it.

It takes what export/static_layout.py lists and knows nothing of positions, so whatever the host loop gets wrong (a row,
a mask, a slot, padding, an order) changes its logits. T new tokens, S slots, G key-value heads, D head width.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.manifest import Manifest, parse_manifest
from export.manifest_parts import CacheLayer
from export.static_layout import Methods, row_chunks, static_methods
from model.attention import Attend, Positions
from model.cache import sdpa
from model.config import ModelConfig
from model.transformer import Transformer
from tests.export.manifest_corpus import endless

Array = np.ndarray[Any, Any]


def static_manifest(
    config: ModelConfig, *, context: int, chunk: int, methods: Methods = "two", bounded: bool = False
) -> Manifest:
    """A manifest of a static-kv package with that model; files, golden text and tokenizer are made up."""
    data = endless()
    window = min(config.sliding_window, context)
    layers = [
        {
            "layer": i,
            "kind": "global" if config.is_global(i) else "local",
            "ring": not bounded or (not config.is_global(i) and window < context),
            "slots": context if config.is_global(i) else window,
            "window": context if config.is_global(i) else window,
            "dtype": "float16",
            "bytes": 4 * (context if config.is_global(i) else window) * config.num_kv_heads * config.head_dim,
        }
        for i in range(config.num_layers)
    ]
    total = sum(layer["bytes"] for layer in layers)
    kinds = {kind: {"scheme": "float", "bits": 16, "group_size": None} for kind in config.layer_matrices}
    tables = ["embedding"] if config.tied else ["embedding", "head"]
    data |= {
        "target": "coreml-ane",
        "runner": {"kind": "static-kv", "min_runtime": "1.5.1"},
        "cache": {"layers": layers, "bytes": total},
        "context": {"kind": "bounded" if bounded else "endless", "tokens": context},
        "window": window if len(config.global_layers) < config.num_layers else None,
        "chunk": chunk,
        "recipe": {
            "name": "float",
            "group_size": None,
            "exceptions": {},
            "layers": {kind: scheme | {"count": config.num_layers} for kind, scheme in kinds.items()}
            | {table: {"scheme": "float", "bits": 16, "group_size": None, "count": 1} for table in tables},
        },
    }
    data["model"] |= {"config": json.loads(json.dumps(config.to_json())), "parameters": config.num_parameters}
    data["memory"] |= {"cache_bytes": total, "estimated_peak_bytes": total + 4096}
    data["golden"] |= {"ids": [2], "margins": [1.0], "compared": 1}
    caches = [CacheLayer(**layer) for layer in layers]
    data["methods"] = {
        name: json.loads(json.dumps(dataclasses.asdict(method)))
        for name, method in static_methods(config, caches, chunk=chunk, methods=methods).items()
    }
    return parse_manifest(data)


class EagerProgram:
    """`export.static_runner.Executor` over the eager model, in float32 inside.

    Args:
        model: the cache-free model.
        manifest: whose methods it repeats.
    """

    def __init__(self, model: Transformer, manifest: Manifest) -> None:
        self._model, self._methods = model, manifest.methods
        self.calls: list[tuple[str, list[int]]] = []  # method and real ids, as `last` tells them

    @torch.inference_mode()
    def execute(self, method: str, inputs: Sequence[Array], /) -> list[Array]:
        specs = self._methods[method]
        for spec, array in zip(specs.inputs, inputs, strict=True):
            assert array.shape == spec.shape, spec.name
            assert array.dtype == spec.dtype or (spec.dtype == "float16" and array.dtype == np.float32), spec.name
            assert np.all(np.isfinite(array)), spec.name
        given = {
            spec.name: torch.from_numpy(np.array(array, dtype=np.int64 if spec.dtype == "int32" else np.float32))
            for spec, array in zip(specs.inputs, inputs, strict=True)
        }
        new: dict[str, Tensor] = {}
        config = self._model.config
        attends = [self._attend(i, given, new) for i in range(config.num_layers)]
        temperature = given.get("temperature")
        positions = Positions(
            cos=given["cos"].unsqueeze(1),
            sin=given["sin"].unsqueeze(1),
            temperature=None if temperature is None else temperature.unsqueeze(-1),
        )
        hidden = self._model.run_layers(self._model.embedding(given["tokens"]), positions, attends)
        last = int(given["last"][0].argmax())
        assert given["last"].sum() == given["last"].max() == 1
        self.calls.append((method, given["tokens"][0, : last + 1].tolist()))
        logits = self._model.head(given["last"] @ hidden[0])
        pieces = logits.split(list(row_chunks(config.vocab_size)), dim=-1)
        dtype = inputs[1].dtype
        outputs = {f"logits_{i}" if len(pieces) > 1 else "logits": piece for i, piece in enumerate(pieces)} | new
        return [outputs[spec.name].numpy().astype(dtype) for spec in specs.outputs]

    def _attend(self, layer: int, given: dict[str, Tensor], new: dict[str, Tensor]) -> Attend:
        kind = "global" if self._model.config.is_global(layer) else "local"

        def attend(q_BTHD: Tensor, k_BTGD: Tensor, v_BTGD: Tensor) -> Tensor:
            for side, values in (("k", k_BTGD), ("v", v_BTGD)):
                new[f"{side}_new_{layer}"] = values.transpose(1, 2)
            k, v = (
                torch.cat((given[f"{side}_cache_{layer}"].transpose(1, 2), values), dim=1)
                for side, values in (("k", k_BTGD), ("v", v_BTGD))
            )
            return sdpa(q_BTHD, k, v, given[f"mask_{kind}"])

        return attend


@torch.inference_mode()
def windowed_logits(model: Transformer, ids: Sequence[int], *, context: int, start: int = 0) -> Tensor:
    """Logits [T, V] of positions from `start` on, without a cache; a global layer sees the last `context` of them."""
    config, positions_T = model.config, start + torch.arange(len(ids))
    distance = positions_T.unsqueeze(1) - positions_T

    def attend_within(window: int) -> Attend:
        visible = (distance >= 0) & (distance < window)
        return lambda q, k, v: sdpa(q, k, v, visible)

    attends = [
        attend_within(context if config.is_global(i) else config.sliding_window) for i in range(config.num_layers)
    ]
    hidden = model.run_layers(model.embedding(torch.tensor([list(ids)])), model.positions(positions_T), attends)
    logits: Tensor = model.head(hidden)[0]
    return logits
