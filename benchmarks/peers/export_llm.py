"""ExecuTorch's own exporter on our shape: its configuration, and the command that runs it.

What executorch 1.5.1's `export_llm` can say of MobileLLM-Pro (extension/llm/export/config/llm_config.py,
examples/models/llama/model_args.py): the shape, parameter-free norms of queries and keys after RoPE, and a window for
each layer (`local_global_attention`: 0 is global). What it cannot: tie an INT4 table to the output layer on this
backend (`use_shared_embedding` wants torchao's ARM kernels), so the file holds it twice. Without a checkpoint it takes
random weights. Group scales are chosen by HQQ, its default.
"""

import json
import sys
from pathlib import Path
from typing import Any

from model.config import ModelConfig

LARGEST_CHUNK = 512  # tokens of one call; four times ours, which is better for it in prefill


def chunk_of(config: ModelConfig) -> int:
    """Tokens of one call: at most a window, since its ring of two windows must hold the one before and the chunk."""
    return min(LARGEST_CHUNK, config.sliding_window)


def windows(config: ModelConfig) -> list[int]:
    """`local_global_attention`: for each layer its window in tokens, or 0 where it is global."""
    return [0 if layer in config.global_layers else config.sliding_window for layer in range(config.num_layers)]


def parameters(config: ModelConfig) -> dict[str, Any]:
    """The file of `base.params`: ModelArgs of examples/models/llama/model_args.py."""
    return {
        "dim": config.dim,
        "n_layers": config.num_layers,
        "n_heads": config.num_heads,
        "n_kv_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "hidden_dim": config.ffn_dim,
        "norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "use_qk_norm": config.qk_norm,
        "qk_norm_affine": False,
        "qk_norm_before_rope": False,
    }


def settings(config: ModelConfig, folder: Path, name: str, *, quantized_cache: bool, context: int) -> dict[str, Any]:
    """The configuration of one export; JSON is YAML, so it is written as JSON.

    Args:
        folder: where `<name>.params.json` lies and `<name>.pte` shall.
        context: positions of a global layer's cache.
    """
    return {
        "base": {
            "model_class": "llama3_2",
            "params": str(folder / f"{name}.params.json"),
            "metadata": json.dumps({"get_bos_id": 1, "get_eos_ids": [2]}),
        },
        "model": {
            "dtype_override": "fp32",
            "use_kv_cache": True,
            "use_sdpa_with_kv_cache": True,
            "quantize_kv_cache": quantized_cache,
            "enable_dynamic_shape": True,
            "local_global_attention": windows(config),
        },
        "export": {
            "max_seq_length": chunk_of(config) + 1,  # the exporter takes one off (extension/llm/export/builder.py)
            "max_context_length": context,
            "output_dir": str(folder),
            "output_name": f"{name}.pte",
        },
        "quantization": {"qmode": "8da4w", "group_size": 32, "embedding_quantize": "4,32"},
        "backend": {"xnnpack": {"enabled": True, "extended_ops": True}},
    }


def command(folder: Path, name: str) -> list[str]:
    """What exports: run it in `folder`, where hydra leaves its own log."""
    module = "executorch.extension.llm.export.export_llm"
    return [sys.executable, "-m", module, "--config", str(folder / f"{name}.yaml")]


def write_settings(config: ModelConfig, folder: Path, name: str, *, quantized_cache: bool, context: int) -> None:
    """The two files that `command` reads."""
    given = settings(config, folder, name, quantized_cache=quantized_cache, context=context)
    (folder / f"{name}.params.json").write_text(json.dumps(parameters(config), indent=2), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(json.dumps(given, indent=2), encoding="utf-8")
