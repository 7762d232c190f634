"""Our operators beside the stock ones, called as ExecuTorch calls them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kernels.load import choose
from tests.kernels.attention_cases import Case, Library, Quantized, random_case, relative_error

_RELATIVE = 1e-5


def stock(case: Case) -> np.ndarray:
    """What ExecuTorch's own kernel computes, called through torch."""
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 2, 1, 3) if case.heads_first else array))

    mask = None if case.mask is None else torch.from_numpy(case.mask)
    common = (case.start if case.mode != "mask" else 0, mask, 0.0, case.mode == "causal", case.scale)
    if not isinstance(case.q, Quantized):
        return torch.ops.llama.custom_sdpa(*map(tensor, (case.q, case.k, case.v)), *common).numpy()
    params = (tensor(p) for x in (case.q, case.k, case.v) for p in (x.zeros, x.scales))
    codes = map(tensor, (case.q.codes, case.k.codes, case.v.codes))
    out = torch.ops.llama.custom_quantized_sdpa(*codes, *common, *params, case.heads_first).numpy()
    return out.transpose(0, 2, 1, 3) if case.heads_first else out


@pytest.mark.parametrize("heads, kv_heads, width", [(4, 4, 32), (20, 4, 64), (5, 1, 16), (4, 2, 128)])
@pytest.mark.parametrize("tokens, start, slots", [(1, 0, 16), (1, 300, 400), (33, 90, 200), (128, 0, 128)])
@pytest.mark.parametrize("kind", ["int8", "float", "int8, heads first"])
def test_ours_agree_with_the_stock_kernels_in_both_modes(
    library: Library, heads: int, kv_heads: int, width: int, tokens: int, start: int, slots: int, kind: str
) -> None:
    shape = {"tokens": tokens, "slots": slots, "heads": heads, "kv_heads": kv_heads, "width": width}
    visible = np.arange(slots) <= start + np.arange(tokens)[:, None]
    mask = np.where(visible, 0.0, -np.inf).astype(np.float32)
    for mode, given in (("causal", None), ("mask", mask), ("prefix", None)):
        case = random_case(7, mode=mode, start=start, mask=given, is_int8=kind != "float", **shape)
        case = replace(case, heads_first=kind == "int8, heads first")
        want = stock(case)
        for isa in library.paths():
            assert relative_error(library.attend(case, isa), want) <= _RELATIVE, (mode, isa)


class HalfAttention(nn.Module):
    """A float16 model, for which we have no code."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.ops.llama.custom_sdpa(q, k, v, 3, None, 0.0, True, None)


def lowered(module: nn.Module, example: tuple[Tensor, ...], path: Path) -> Path:
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401

    traced = torch.export.export(module.eval(), example, strict=False)
    edge = to_edge_transform_and_lower(traced, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    path.write_bytes(edge.to_executorch().buffer)
    return path


def test_a_type_that_we_have_no_code_for_runs_as_before(tmp_path):
    from executorch.runtime import Runtime

    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, n, h, 32, generator=draw).half() for n, h in ((2, 4), (9, 2), (9, 2)))
    path = lowered(HalfAttention(), (q, k, v), tmp_path / "half.pte")
    answers = []
    for kernels in ("stock", "own"):
        choose(kernels)
        answers.append(Runtime.get().load_program(path).load_method("forward").execute((q, k, v))[0].clone())
    assert torch.equal(*answers) and answers[0].dtype == torch.float16


class Attention(nn.Module):
    """Attention whose start is an input, so that a call can be wrong."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, position: Tensor) -> Tensor:
        return torch.ops.llama.custom_sdpa(q, k, v, position[0].item(), None, 0.0, True, None)


class Update(nn.Module):
    """A write to a cache, which is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(1, 5, 2, 8))

    def forward(self, value: Tensor, indices: Tensor) -> Tensor:
        torch.ops.llama.update_cache_with_indices(value, self.cache, 0, indices)
        return self.cache + 0


def test_a_call_that_would_step_out_of_the_cache_fails_and_says_so(tmp_path, capfd):
    from executorch.runtime import Runtime

    q, k, v = torch.ones(1, 2, 4, 8), torch.ones(1, 5, 2, 8), torch.ones(1, 5, 2, 8)
    attention = lowered(Attention(), (q, k, v, torch.tensor([0])), tmp_path / "attention.pte")
    update = lowered(Update(), (torch.ones(1, 2, 2, 8), torch.tensor([[0, 1]])), tmp_path / "update.pte")
    choose("own")
    method = Runtime.get().load_program(attention).load_method("forward")
    assert torch.equal(method.execute((q, k, v, torch.tensor([3])))[0], torch.ones(1, 2, 4, 8))
    for start in (4, -1):
        with pytest.raises(RuntimeError):
            method.execute((q, k, v, torch.tensor([start])))
        assert "the tokens must end within the cache" in capfd.readouterr().err
    method = Runtime.get().load_program(update).load_method("forward")
    written = method.execute((torch.full((1, 2, 2, 8), 3.0), torch.tensor([[4, 0]])))[0]
    assert torch.equal(written[0, :, 0, 0], torch.tensor([3.0, 0, 0, 0, 3.0]))
    for indices in ([[5, 0]], [[0, -1]]):
        with pytest.raises(RuntimeError):
            method.execute((torch.ones(1, 2, 2, 8), torch.tensor(indices)))
        assert "an index lies outside of the cache" in capfd.readouterr().err
