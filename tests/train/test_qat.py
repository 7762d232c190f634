"""A QAT run: from a float checkpoint to weights whose codes are the ones that were trained, and what it refuses."""

import json
import shutil

import pytest
import torch

from model.checkpoint import load_model, open_tensors, random_checkpoint, read_info, write_checkpoint
from model.config import ModelConfig
from quant.checkpoint import build_model, load_quantized, quantize_checkpoint
from quant.integers import QuantizedTensor
from tests.train.small_run import write_run_file
from train.engine import Engine
from train.loop import train
from train.run_file import read_run

CONFIG = ModelConfig(
    vocab_size=300,
    dim=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    ffn_dim=64,
    global_layers=(1,),
    sliding_window=16,
    max_context=64,
    qk_norm=True,
)
RUN = """
objective = "qat"
[model]
checkpoint = "float"
[data]
sources = ["text"]
held_out_every = 10
[train]
steps = 6
window = 32
batch_tokens = 128
micro_batch_tokens = 64
threads = 1
evaluate_every = 3
evaluate_tokens = 256
save_every = 3
[optimizer]
lr = 1e-3
warmup_steps = 2
weight_decay = 0.0
"""


class Quiet:
    """Shows nothing of a run."""

    def step(self, record, *, steps): ...
    def evaluated(self, record): ...
    def saved(self, step, path): ...
    def note(self, line): ...


@pytest.fixture
def place(tmp_path):
    """A folder with text, a float checkpoint and a run file."""
    random_checkpoint(CONFIG, tmp_path / "small", seed=1)
    info, tensors = read_info(tmp_path / "small"), open_tensors(tmp_path / "small")
    shutil.copytree(tmp_path / "small", tmp_path / "float")
    # Weights large enough for rounding to cost something.
    write_checkpoint(
        tmp_path / "float", info, ((n, tensors.get(n) * (6 if tensors.get(n).dim() == 2 else 1)) for n in tensors.names)
    )
    write_run_file(tmp_path, RUN).rename(tmp_path / "run.toml")
    return tmp_path


def run(place, *overrides, out="out", **options):
    settings = read_run(place / "run.toml", overrides)
    return train(settings, place / out, base=place, display=Quiet(), **options)


def engine(place, *overrides):
    return Engine(read_run(place / "run.toml", overrides), torch.device("cpu"), base=place)


def batch(seed=0, rows=4):
    return torch.randint(0, 300, (rows, 33), generator=torch.Generator().manual_seed(seed))


# The objective


def test_the_loss_is_the_divergence_of_the_integer_model_from_the_float_one(place):
    quantize_checkpoint(place / "float", place / "integers", recipe="8da4w-g32")
    tokens = batch()
    with torch.no_grad():
        student = build_model(place / "integers")(tokens[:, :-1]).log_softmax(-1)
        teacher = load_model(place / "float")(tokens[:, :-1]).log_softmax(-1)
        expected = float((teacher.exp() * (teacher - student)).sum(-1).mean())
        made = engine(place)
        assert float(made.loss(tokens)) == pytest.approx(expected, rel=1e-4)
        assert expected > 1e-5
    figures, count = made.evaluate([tokens])
    assert figures["kl"] == pytest.approx(expected, rel=1e-4) and count == 128
    nll = float(-student.gather(-1, tokens[:, 1:, None]).mean())
    assert figures["loss"] == pytest.approx(nll, rel=1e-5)


def test_a_share_of_next_tokens_and_a_temperature_are_weighed_as_the_guide_says(place):
    tokens = batch()
    loss = {
        share: float(engine(place, f"distill.cross_entropy={share}", "distill.temperature=2").loss(tokens))
        for share in (0.0, 0.25, 1.0)
    }
    assert loss[0.25] == pytest.approx(0.75 * loss[0.0] + 0.25 * loss[1.0], rel=1e-5)


def test_the_teacher_is_not_trained_and_the_student_is(place):
    made = engine(place)
    before = made.objective._ask(batch()[:, :-1]).hidden_MC.clone()
    weights = {name: p.detach().clone() for name, p in made.parameters.items()}
    made.step(batch(), 1)
    made.step(batch(1), 2)
    assert torch.equal(made.objective._ask(batch()[:, :-1]).hidden_MC, before)
    assert all(not torch.equal(p, weights[name]) for name, p in made.parameters.items())


def test_training_brings_the_divergence_down(place):
    made = engine(place, "train.steps=100", "optimizer.lr=3e-4", "optimizer.min_lr=0.0", "qat.learn_ranges=true")
    before = made.evaluate([batch(99)])[0]["kl"]
    for step in range(1, 101):
        made.step(batch(step), step)
    assert made.evaluate([batch(99)])[0]["kl"] < 0.75 * before


# From the run to the codes


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("qat.learn_ranges=true", "qat.range_lr=0.02"),
        ("qat.recipe=4w-channel", "qat.learn_ranges=true", "qat.range_lr=0.02"),
        ('qat.overrides=["layers.0.*=int8-channel", "layers.1.attention.q_proj=float"]',),
    ],
    ids=["group", "group-learned", "channel-learned", "overrides"],
)
def test_the_codes_of_the_checkpoint_are_those_that_the_last_step_trained(place, overrides):
    result = run(place, *overrides)
    assert result.done is not None
    made = engine(place, *overrides)
    from train.state import load_newest

    made.restore(load_newest(place / "out" / "checkpoints", print).tensors)
    checkpoint = place / "out" / "checkpoint"
    info = read_info(checkpoint)
    assert info.trained_for is not None and info.trained_for.method == "trained"
    assert info.learned_scales == ("qat.learn_ranges=true" in overrides)
    quantize_checkpoint(checkpoint, place / "integers")
    assert read_info(place / "integers").quantization.method == "trained"
    tokens = batch()[:, :-1]
    with torch.no_grad():
        assert torch.equal(made.model.eval()(tokens), build_model(place / "integers")(tokens))
    if info.learned_scales:
        learned = open_tensors(checkpoint)
        stored = load_quantized(place / "integers")
        names = [name for name, tensor in stored.items() if isinstance(tensor, QuantizedTensor)]
        assert "embedding" in names and len(names) == 1 + 2 * 7
        for name in names:
            assert torch.equal(stored[name].scales.float(), learned.get(f"{name}.weight_scale")), name
        plain = open_tensors(place / "float")
        assert not torch.equal(learned.get("embedding.weight"), plain.get("embedding.weight"))


def test_a_resumed_run_ends_with_the_same_bytes(place):
    options = ("qat.learn_ranges=true",)
    run(place, *options)
    run(place, *options, out="again", max_steps=3)
    run(place, *options, out="again", resume=True)
    for file in ("model.safetensors", "checkpoint.json"):
        assert (place / "out/checkpoint" / file).read_bytes() == (place / "again/checkpoint" / file).read_bytes()


def test_a_run_with_the_teachers_targets_on_disk_goes_the_same_way(place):
    run(place)
    run(place, 'distill.cache="targets"', "distill.top_k=300", out="cached")
    losses = [
        [
            json.loads(line)["loss"]
            for line in (place / out / "metrics.jsonl").read_text().splitlines()
            if '"loss"' in line
        ]
        for out in ("out", "cached")
    ]
    assert len(losses[0]) == len(losses[1]) == 6
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-3)  # all 300 tokens are kept; float16 (docs/numerics.md)
    assert losses[0] == pytest.approx(losses[1], rel=0.1)  # codes near a tie go another way


def test_training_goes_on_from_a_checkpoint_with_the_plain_objective(place):
    tables = ("objective=next-token",)
    tokens = batch()
    with torch.no_grad():
        logits = load_model(place / "float")(tokens[:, :-1])
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        assert torch.equal(engine(place, *tables).loss(tokens), expected)


def test_licences_of_the_checkpoint_travel_along(place):
    (place / "float" / "LICENSE").write_text("be kind")
    run(place)
    assert (place / "out/checkpoint/LICENSE").read_text() == "be kind"
    assert read_info(place / "out/checkpoint").licences == ("LICENSE",)


# Refusals


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (("qat.recipe=float",), "quantizes nothing"),
        (("qat.recipe=8da4w",), "did you mean '8da4w-g32'"),
        (("qat.group_size=48",), "impossible group size 48"),
        (("train.checkpoint_dtype=bfloat16",), "must be float32 under QAT"),
        (("distill.cross_entropy=1.5",), "at most 1"),
        (("distill.cross_entropy=1.0", "distill.teacher=float"), "needs no teacher"),
        (("distill.temperature=0",), "above 0"),
        (('qat.overrides="layers.0"',), "PATTERN=SCHEME"),
        (('qat.overrides="layers.9.*=float"',), "layers.9"),
        (("objective=next-token", "qat.recipe=8da4w-g32"), 'belong to objective = "qat"'),
        (("model.preset=nano",), "brings its own shape"),
        (("model.checkpoint=nowhere",), "checkpoint.json is missing"),
        (("distill.teacher=nowhere",), "checkpoint.json is missing"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_written(place, overrides, match):
    with pytest.raises(ValueError, match=match.replace("*", r"\*")):
        engine(place, *overrides)


def test_a_run_without_a_checkpoint_to_begin_with_is_refused(place):
    (place / "run.toml").write_text(RUN.replace('checkpoint = "float"', 'preset = "nano"'))
    with pytest.raises(ValueError, match="begins with trained weights"):
        read_run(place / "run.toml")


def test_a_quantized_start_or_teacher_is_refused(place):
    quantize_checkpoint(place / "float", place / "integers", recipe="8da4w-g32")
    with pytest.raises(ValueError, match="is quantized"):
        engine(place, "model.checkpoint=integers")
    with pytest.raises(ValueError, match=r"the teacher .* is quantized"):
        engine(place, "distill.teacher=integers")


def test_a_teacher_with_another_vocabulary_tokenizer_or_context_is_refused(place):
    import dataclasses

    random_checkpoint(dataclasses.replace(CONFIG, vocab_size=320), place / "wide", seed=1)
    with pytest.raises(ValueError, match="vocabulary of 320"):
        engine(place, "distill.teacher=wide")
    random_checkpoint(dataclasses.replace(CONFIG, max_context=16), place / "short", seed=1)
    with pytest.raises(ValueError, match="trained for 16 tokens"):
        engine(place, "distill.teacher=short")
    shutil.copytree(place / "float", place / "other")
    file = place / "other" / "tokenizer.json"
    file.write_text(file.read_text().replace("\n", " ", 1))
    with pytest.raises(ValueError, match="needs the same tokenizer"):
        engine(place, "distill.teacher=other")


def test_a_teacher_of_another_shape_is_named_as_such(place, caplog):
    import dataclasses

    caplog.set_level("INFO", logger="pocketlm")
    random_checkpoint(dataclasses.replace(CONFIG, num_layers=3), place / "deep", seed=2)
    assert float(engine(place, "distill.teacher=deep").loss(batch())) > 0
    assert "another shape" in caplog.text


def test_learned_scales_are_not_dropped_by_a_second_run(place):
    run(place, "qat.learn_ranges=true")
    with pytest.raises(ValueError, match="learned scales, which this run would drop"):
        engine(place, "model.checkpoint=out/checkpoint")
    again = engine(place, "model.checkpoint=out/checkpoint", "qat.learn_ranges=true")
    kept = open_tensors(place / "out/checkpoint").get("embedding.weight_scale")
    assert torch.equal(again.model.embedding.scales(), kept)


def test_training_may_begin_with_the_codes_of_a_quantized_checkpoint(place):
    options = ("qat.start=begun", "qat.learn_ranges=true")
    quantize_checkpoint(place / "float", place / "begun", recipe="8da4w-g32", method="mse")
    tokens = batch()[:, :-1]
    made = engine(place, *options)
    with torch.no_grad():
        assert torch.equal(made.model.eval()(tokens), build_model(place / "begun")(tokens))
    assert float(made.evaluate([batch()])[0]["kl"]) > 0  # the teacher is the float model still
    with pytest.raises(ValueError, match=r"which only qat\.learn_ranges"):
        engine(place, "qat.start=begun")
    quantize_checkpoint(place / "float", place / "other", recipe="8da4w-g32", group_size=64)
    with pytest.raises(ValueError, match="quantized otherwise than this run trains"):
        engine(place, "qat.start=other", "qat.learn_ranges=true")
    with pytest.raises(ValueError, match="is not quantized"):
        engine(place, "qat.start=float", "qat.learn_ranges=true")
