"""A GGUF file of a preset's shape with random Q4_0 weights, written a tensor at a time with the PyPI package `gguf`.

    VENV/bin/python -m benchmarks.peers.gguf_file mobilellm-pro llama OUT.gguf

Two architectures of llama.cpp v0.5.0 hold our matrix products exactly, both with the table tied:
* `llama` (src/models/llama.cpp): every layer attends over the whole context.
* `granite_swa` (src/models/granite-swa.cpp): a flag for each layer says whether it has a sliding window, so ours, the
  global layers 0, 4, ..., 28 and 29 included, is expressed as it is. It insists on an attention sink for each head,
  which costs one more term of the softmax; all its scales are 1 here.
Neither normalizes queries and keys, which ours does (a little less work than ours).

Q4_0 is 32 codes and one fp16 scale: the bits of our groups. EVERY matrix is Q4_0, the token table too (llama.cpp's
own quantizer would take Q6_K for a tied table, which is larger and slower to read). Norm weights are float32 ones.

Shapes: rows and columns of a matrix [N, K] as in our checkpoints; on disk a row is K / 32 blocks of 18 bytes.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import PRESETS, ModelConfig

ARCHITECTURES = ("llama", "granite_swa")
BLOCK = 32  # weights of a block
BLOCK_BYTES = 18  # fp16 scale, then 16 bytes of two codes each (ggml-common.h, block_q4_0)
CODE_SPREAD = 4.61  # standard deviation of a uniform code in -8 .. 7


def matrices(config: ModelConfig) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names (gguf's) and shapes [N, K] of every quantized matrix, in the order of the file."""
    yield "token_embd.weight", (config.vocab_size, config.dim)
    query, key = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    for layer in range(config.num_layers):
        for name, shape in (
            ("attn_q", (query, config.dim)),
            ("attn_k", (key, config.dim)),
            ("attn_v", (key, config.dim)),
            ("attn_output", (config.dim, query)),
            ("ffn_gate", (config.ffn_dim, config.dim)),
            ("ffn_up", (config.ffn_dim, config.dim)),
            ("ffn_down", (config.dim, config.ffn_dim)),
        ):
            yield f"blk.{layer}.{name}.weight", shape


def vectors(config: ModelConfig, architecture: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names and float32 values of what is not quantized: norms, and the sinks of `granite_swa`."""
    norm = np.ones(config.dim, dtype=np.float32)
    yield "output_norm.weight", norm
    for layer in range(config.num_layers):
        yield f"blk.{layer}.attn_norm.weight", norm
        yield f"blk.{layer}.ffn_norm.weight", norm
        if architecture == "granite_swa":
            yield f"blk.{layer}.attn_sinks.weight", np.zeros(config.num_heads, dtype=np.float32)


def random_q4_0(shape: tuple[int, int], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Random blocks of a matrix [N, K] as bytes [N, K / 32 * 18]; a product's output is about as large as its input.

    Raises:
        ValueError: K is no multiple of 32.
    """
    rows, columns = shape
    if columns % BLOCK:
        raise ValueError(
            f"{columns} columns do not fill blocks of {BLOCK}; choose widths that are multiples of {BLOCK}"
        )
    blocks = generator.integers(0, 256, (rows, columns // BLOCK, BLOCK_BYTES), dtype=np.uint8)
    scale = generator.uniform(0.5, 1.5, (rows, columns // BLOCK)) / (CODE_SPREAD * columns**0.5)
    blocks[..., :2] = scale.astype("<f2").view(np.uint8).reshape(rows, columns // BLOCK, 2)
    return blocks.reshape(rows, -1)


def metadata(config: ModelConfig, architecture: str, writer: Any) -> None:
    """The keys that llama.cpp wants; the vocabulary is `none`: ids without text."""
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_file_type(2)  # llama.h, LLAMA_FTYPE_MOSTLY_Q4_0
    writer.add_tokenizer_model("none")
    if architecture == "granite_swa":
        writer.add_logit_scale(1.0)
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([layer not in config.global_layers for layer in range(config.num_layers)])


def write_gguf(config: ModelConfig, architecture: str, path: Path, *, seed: int = 0) -> None:
    """Writes the file beside its place and renames it; memory holds one matrix at a time.

    Raises:
        ValueError: an architecture that is none of ARCHITECTURES, or an untied preset.
    """
    if architecture not in ARCHITECTURES or not config.tied:
        raise ValueError(f"{architecture!r} must be one of {', '.join(ARCHITECTURES)}, of a preset whose table is tied")
    gguf = importlib.import_module("gguf")
    partial = path.with_name(f".{path.name}.partial")
    writer = gguf.GGUFWriter(partial, architecture)
    metadata(config, architecture, writer)
    for name, value in vectors(config, architecture):
        writer.add_tensor_info(name, value.shape, value.dtype, value.nbytes)
    q4_0 = gguf.GGMLQuantizationType.Q4_0
    for name, (rows, columns) in matrices(config):
        width = columns // BLOCK * BLOCK_BYTES
        writer.add_tensor_info(name, (rows, width), np.dtype(np.uint8), rows * width, raw_dtype=q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    generator = np.random.default_rng(seed)
    for _, value in vectors(config, architecture):
        writer.write_tensor_data(value)
    for _, shape in matrices(config):
        writer.write_tensor_data(random_q4_0(shape, generator))
    writer.close()
    os.replace(partial, path)


if __name__ == "__main__":
    write_gguf(PRESETS[sys.argv[1]], sys.argv[2], Path(sys.argv[3]))
