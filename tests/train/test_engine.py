"""One step of training against a plain one, the first weights, and what goes into a state and comes back."""

import dataclasses
import math
import os

import pytest
import torch
from torch import nn

from model.config import ModelConfig
from model.transformer import Transformer
from train.engine import Engine, deterministic, find_device, new_model
from train.settings import DataSettings, LoopSettings, ModelSettings, OptimizerSettings, RunSettings

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    vocab_size=64,
    dim=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    ffn_dim=48,
    global_layers=(1,),
    sliding_window=8,
    max_context=32,
    qk_norm=True,
)
OPTIMIZER = OptimizerSettings(lr=1e-2, min_lr=1e-3, warmup_steps=2, clip=0.5)
LOOP = LoopSettings(steps=8, window=16, batch_tokens=64)


def engine(config: ModelConfig = CONFIG, *, optimizer: OptimizerSettings = OPTIMIZER, **loop) -> Engine:
    return Engine(
        RunSettings(
            name="test",
            model=ModelSettings(config=config),
            data=DataSettings(sources=("text",)),
            train=dataclasses.replace(LOOP, **loop),
            optimizer=optimizer,
        ),
        CPU,
    )


def batch(seed: int = 0, rows: int = 4, window: int = 16) -> torch.Tensor:
    return torch.randint(CONFIG.vocab_size, (rows, window + 1), generator=torch.Generator().manual_seed(seed))


def weights(engine: Engine) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in engine.parameters.items()}


# The first weights


def test_the_first_weights_are_seeded_normal_with_small_ends_of_the_residual_branches():
    config = dataclasses.replace(CONFIG, vocab_size=2000, num_layers=8, dim=128, head_dim=64, ffn_dim=512)
    model = new_model(config, seed=5).requires_grad_(False)
    for name, p in model.named_parameters():
        if p.dim() == 1:
            assert (p == 1).all(), name
            continue
        ends = name.endswith(("o_proj.weight", "down_proj.weight"))
        std = 0.02 / math.sqrt(2 * 8) if ends else 0.02
        error = 5 * std / math.sqrt(2 * p.numel())  # five standard errors of a deviation
        assert float(p.std()) == pytest.approx(std, abs=error), name
        assert abs(float(p.mean())) < 5 * std / math.sqrt(p.numel()), name
    again, other = new_model(config, seed=5), new_model(config, seed=6)
    assert torch.equal(model.embedding.weight, again.embedding.weight)
    assert not torch.equal(model.embedding.weight, other.embedding.weight)


def test_a_fresh_model_knows_nothing():
    made = engine()
    figures, tokens = made.evaluate([batch(1), batch(2)])
    assert figures == {"loss": pytest.approx(math.log(CONFIG.vocab_size), abs=0.1)}
    assert tokens == 2 * 4 * 16


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_table_is_one_parameter_and_counted_once(tied):
    config = dataclasses.replace(CONFIG, tied=tied)
    made = engine(config)
    assert (made.model.head.weight is made.model.embedding.weight) == tied
    assert ("head.weight" in made.parameters) == (not tied)
    assert sum(p.numel() for p in made.parameters.values()) == config.num_parameters
    grouped = [id(p) for group in made.optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted({id(p) for p in made.parameters.values()})


def test_matrices_decay_and_norms_do_not():
    made = engine()
    matrices, tables, free = made.optimizer.param_groups
    for decayed in (matrices, tables):
        assert decayed["weight_decay"] == 0.1 and {p.dim() for p in decayed["params"]} == {2}
    assert free["weight_decay"] == 0.0 and {p.dim() for p in free["params"]} == {1}


# A step


class PlainLoop:
    """The same training, written down from the definitions in float64: no fused kernel, no accumulation."""

    def __init__(self, first: Transformer) -> None:
        self.model = Transformer(CONFIG).double()
        self.model.load_state_dict(first.state_dict())
        self.parameters = dict(self.model.named_parameters())
        self.m = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.v = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    def step(self, batch: torch.Tensor, step: int, rate: float) -> tuple[float, float]:
        log_probabilities = torch.log_softmax(self.model(batch[:, :-1]), dim=-1)
        loss = -log_probabilities.gather(-1, batch[:, 1:].unsqueeze(-1)).mean()
        names = list(self.parameters)
        gradients = dict(zip(names, torch.autograd.grad(loss, [self.parameters[n] for n in names]), strict=True))
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
        scale = min(1.0, OPTIMIZER.clip / norm)
        with torch.no_grad():
            for name, p in self.parameters.items():  # AdamW, arXiv 1711.05101, algorithm 2
                g, b1, b2 = gradients[name] * scale, OPTIMIZER.beta1, OPTIMIZER.beta2
                self.m[name] = b1 * self.m[name] + (1 - b1) * g
                self.v[name] = b2 * self.v[name] + (1 - b2) * g * g
                m, v = self.m[name] / (1 - b1**step), self.v[name] / (1 - b2**step)
                decay = OPTIMIZER.weight_decay if p.dim() > 1 else 0.0
                p -= rate * (m / (v.sqrt() + OPTIMIZER.eps) + decay * p)
        return loss.item(), norm


@pytest.mark.parametrize("micro_batch_tokens", [None, 16])
def test_steps_are_those_of_the_definitions_in_float64(micro_batch_tokens):
    made = engine(micro_batch_tokens=micro_batch_tokens)
    plain = PlainLoop(made.model)
    for step in range(1, 6):
        figures = made.step(batch(step), step)
        loss, norm = plain.step(batch(step), step, figures["lr"])
        assert figures["loss"] == pytest.approx(loss, abs=1e-5)
        assert figures["grad_norm"] == pytest.approx(norm, rel=1e-4)
    for name, p in made.parameters.items():
        assert torch.allclose(p, plain.parameters[name].float(), rtol=0, atol=1e-4), name


def test_the_rate_is_the_schedules():
    made = engine()
    assert [made.step(batch(step), step)["lr"] for step in (1, 2, 3)][:2] == [0.005, 0.01]
    assert made.step(batch(), LOOP.steps)["lr"] == pytest.approx(OPTIMIZER.min_lr)


def test_it_learns():
    made = engine(optimizer=dataclasses.replace(OPTIMIZER, clip=1.0))
    losses = [made.step(batch(0), step)["loss"] for step in range(1, 9)]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layers_computed_again_give_the_same_bits_and_keep_less(precision):
    kept, again = engine(precision=precision), engine(precision=precision, activation_checkpointing=True)
    sizes = []
    for made in (kept, again):
        stored: dict[int, int] = {}

        def pack(tensor: torch.Tensor, stored: dict[int, int] = stored) -> torch.Tensor:
            stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            made.loss(batch())
        sizes.append(sum(stored.values()))
    assert sizes[1] < sizes[0] / 3
    for step in (1, 2, 3):
        assert kept.step(batch(step), step) == again.step(batch(step), step)
    assert all(torch.equal(p, kept.parameters[name]) for name, p in again.parameters.items())
    assert kept.evaluate([batch(9)]) == again.evaluate([batch(9)])


def test_a_longer_window_makes_fewer_rows_of_a_micro_batch():
    made = engine(micro_batch_tokens=32, final_window=32, final_steps=1)
    assert math.isfinite(made.step(batch(0, rows=2, window=32), 8)["loss"])


@pytest.mark.parametrize("spoil", [float("nan"), float("inf"), 1e38])
def test_a_loss_that_is_not_finite_changes_nothing(spoil):
    made = engine()
    made.step(batch(), 1)
    with torch.no_grad():
        made.model.layers[1].feed_forward.down_proj.weight[0, 0] = spoil
        made.model.layers[1].feed_forward.up_proj.weight.fill_(1e20)
    before = weights(made)
    with pytest.raises(FloatingPointError, match="is not finite"):
        made.step(batch(), 2)
    assert all(torch.equal(p.nan_to_num(), before[name].nan_to_num()) for name, p in made.parameters.items())


def test_a_gradient_that_is_not_finite_changes_nothing():
    made = engine()
    made.step(batch(), 1)
    before = weights(made)
    made.parameters["norm.weight"].register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match="the gradient is not finite"):
        made.step(batch(), 2)
    assert all(torch.equal(p, before[name]) for name, p in made.parameters.items())


def test_bfloat16_products_train_float32_weights_close_to_float32():
    full, half = engine(), engine(precision="bfloat16")
    for step in range(1, 5):
        a, b = full.step(batch(step), step), half.step(batch(step), step)
        assert b["loss"] == pytest.approx(a["loss"], abs=0.05) and b["loss"] != a["loss"]
    assert {p.dtype for p in half.parameters.values()} == {torch.float32}


def test_an_evaluation_scores_every_token_and_changes_nothing():
    made = engine()
    made.step(batch(), 1)
    before = weights(made)
    long, short = batch(1, rows=3), batch(2, rows=1)
    figures, tokens = made.evaluate([long, short])
    with torch.no_grad():
        logits = made.model(torch.cat([long, short])[:, :-1])
        expected = nn.functional.cross_entropy(logits.flatten(0, 1), torch.cat([long, short])[:, 1:].flatten())
    assert figures["loss"] == pytest.approx(float(expected), abs=1e-6) and tokens == 64
    assert all(torch.equal(p, before[name]) and p.requires_grad for name, p in made.parameters.items())


# The state


def test_a_restored_engine_goes_on_bit_for_bit():
    first = engine()
    for step in (1, 2, 3):
        first.step(batch(step), step)
    kept = {name: tensor.detach().clone() for name, tensor in first.tensors().items()}
    random = torch.rand(3)
    ends = [first.step(batch(step), step) for step in (4, 5)]
    second = engine(seed=9)
    second.restore(kept)
    assert torch.equal(torch.rand(3), random)
    assert [second.step(batch(step), step) for step in (4, 5)] == ends
    assert all(torch.equal(p, first.parameters[name]) for name, p in second.parameters.items())


def test_a_state_of_another_model_is_refused():
    made = engine()
    made.step(batch(), 1)
    other = engine(dataclasses.replace(CONFIG, ffn_dim=64))
    with pytest.raises(ValueError, match="the state on disk is of another model"):
        other.restore(made.tensors())


# The surroundings


def test_a_run_leaves_torch_as_it_found_it():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with pytest.raises(KeyboardInterrupt), deterministic(CPU, before[0] + 1) as threads:
        assert threads == torch.get_num_threads() == before[0] + 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.manual_seed(77)
        raise KeyboardInterrupt
    assert before == (torch.get_num_threads(), torch.get_deterministic_debug_mode())
    assert torch.equal(torch.rand(2), expected)


def test_no_number_of_threads_means_all_that_the_process_may_use(monkeypatch):
    with deterministic(CPU, 0) as threads:
        assert threads == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    with deterministic(CPU, 0) as threads:
        assert threads == 3


def test_a_gpu_that_is_not_there_is_an_error_and_auto_takes_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == CPU
    with pytest.raises(ValueError, match=r'train.device is "cuda" and torch finds no GPU here; set it to "cpu"'):
        find_device("cuda")
