"""A small float checkpoint that every test of this folder may bend to its purpose."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.checkpoint import float_shapes, write_checkpoint
from model.checkpoint_info import CheckpointInfo
from model.config import ModelConfig

CONFIG = ModelConfig(
    vocab_size=96, dim=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, ffn_dim=108,  # 108 is not 32 * n
    global_layers=(1,), sliding_window=4, max_context=64,
)  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a float checkpoint of seeded weights; `change` may edit its tensors first."""

    def make(
        *, tied: bool = True, dtype: torch.dtype = torch.float32, learned: bool = False,
        change: Callable[[dict[str, torch.Tensor]], None] = lambda tensors: None,
    ) -> Path:  # fmt: skip
        config = dataclasses.replace(CONFIG, tied=tied)
        generator = torch.Generator().manual_seed(5)
        tensors = {
            name: (torch.randn(shape, generator=generator) * 0.1 + (len(shape) == 1)).to(dtype)
            for name, shape in float_shapes(config).items()
        }
        change(tensors)
        folder = tmp_path / "source"
        folder.mkdir()
        info = CheckpointInfo(
            config=config, family="random", source_sha256="0" * 64, learned_scales=learned, licences=("LICENSE.txt",)
        )
        write_checkpoint(folder, info, tensors.items())
        (folder / "LICENSE.txt").write_text("be kind")
        return folder

    return make
