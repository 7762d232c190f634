"""A teacher in brief: what is kept, at which temperatures it is exact, and how far its loss is from the whole one."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.checkpoint import float_shapes, load_model
from quant.fake_quant import prepare_qat
from quant.plan import layer_shapes
from quant.recipe import find_recipe, plan_layers
from train.distillation import Head, distillation_loss
from train.objective import student_head
from train.teacher_targets import at_temperature, read_records, record_type, summarize, write_records

TEMPERATURES = (1.0, 2.0, 4.0)
M, C, V = 24, 8, 300


@pytest.fixture
def teacher():
    generator = torch.Generator().manual_seed(0)
    return Head(torch.randn(M, C, generator=generator), torch.randn(V, C, generator=generator))


def logits(head):
    return (head.hidden_MC.double() @ head.weight_VC.double().T).detach()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_kept_tokens_and_tail_are_those_of_the_softmax_at_each_temperature(teacher, temperature):
    for k in (1, 7, 299):
        summary = summarize(teacher, top_k=k, temperatures=TEMPERATURES, chunk=5)
        found = at_temperature(summary, temperature, TEMPERATURES)
        probs = torch.softmax(logits(teacher) / temperature, 1)
        kept, ids = probs.topk(k, dim=1)
        assert torch.equal(found.ids_MK.long(), ids) and found.ids_MK.dtype == torch.int32
        assert torch.allclose(found.log_probs_MK.double().exp(), kept, atol=1e-6)
        assert torch.allclose(found.tail_M.double().exp(), 1 - kept.sum(1), atol=1e-6)


def test_the_whole_vocabulary_has_no_tail(teacher):
    summary = summarize(teacher, top_k=V, temperatures=(1.0,), chunk=M)
    assert bool((at_temperature(summary, 1.0, (1.0,)).tail_M == -torch.inf).all())


def test_a_teacher_that_is_sure_of_one_token_is_kept_as_finite_numbers():
    """Probabilities down to exp(-100,000): float16 ends at -65,504."""
    sure = Head(torch.tensor([[1e5], [-1e5]]), torch.tensor([[0.0], [0.5], [1.0]]))
    summary = summarize(sure, top_k=2, temperatures=(1.0, 2.0), chunk=2)
    assert bool(torch.isfinite(summary.log_probs_MK.half()).all())
    student = Head(torch.randn(2, 1, requires_grad=True), torch.randn(3, 1, requires_grad=True))
    for temperature in (1.0, 2.0):
        found = at_temperature(summary, temperature, (1.0, 2.0))
        loss = distillation_loss(student, found, None, temperature=temperature, cross_entropy=0.0, chunk=1)
        assert all(bool(torch.isfinite(g).all()) for g in torch.autograd.grad(loss, student))


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="the teacher's logits are not finite"):
        summarize(Head(torch.tensor([[torch.nan]]), torch.ones(3, 1)), top_k=1, temperatures=(1.0,), chunk=1)


@pytest.mark.parametrize(("vocabulary", "id_bytes"), [(300, 2), (1 << 16, 2), ((1 << 16) + 1, 4)])
def test_records_hold_every_id_and_come_back_rounded_to_float16(teacher, vocabulary, id_bytes):
    kind = record_type(window=6, top_k=5, num_temperatures=3, vocab_size=vocabulary)
    assert kind.itemsize == 16 + 6 * (5 * (id_bytes + 2) + 3 * 4)
    summary = summarize(teacher, top_k=5, temperatures=TEMPERATURES, chunk=M)
    summary.ids_MK[0, 0] = vocabulary - 1
    records = np.zeros(M // 6, kind)
    write_records(summary, records)
    found = read_records([records[:1], records[1:]])
    assert torch.equal(found.ids_MK, summary.ids_MK)
    assert torch.equal(found.log_probs_MK, summary.log_probs_MK.half().float())
    assert torch.equal(found.tails_MN, summary.tails_MN)


def lost(student, teacher, ids_MK, temperature):
    """What the K + 1 outcomes leave out, by the chain rule: the tail's mass times the divergence inside the tail."""
    z, other = logits(student) / temperature, logits(teacher) / temperature
    top = torch.zeros_like(z, dtype=torch.bool).scatter(1, ids_MK.long(), True)
    mass = torch.softmax(other, 1).masked_fill(top, 0.0).sum(1)
    inside, outside = (torch.log_softmax(x.masked_fill(top, -1e9), 1) for x in (z, other))
    return temperature**2 * mass * functional.kl_div(inside, outside, log_target=True, reduction="none").sum(1)


def bound(student, teacher, ids_MK, temperature):
    """Tail mass * min(R^2 / 8, T * R), R the range of the logits' differences over the tail (docs/numerics.md)."""
    difference = logits(teacher) - logits(student)
    top = torch.zeros_like(difference, dtype=torch.bool).scatter(1, ids_MK.long(), True)
    mass = torch.softmax(logits(teacher) / temperature, 1).masked_fill(top, 0.0).sum(1)
    spread = difference.masked_fill(top, -torch.inf).amax(1) - difference.masked_fill(top, torch.inf).amin(1)
    return mass * torch.minimum(spread**2 / 8, temperature * spread)


@pytest.fixture(scope="module")
def rounded_nano(root):
    """The embedded model as a teacher, and itself under untrained fake quantization as its student, on some text."""
    folder = root / "assets" / "nano"
    teacher = load_model(folder).float().eval()
    recipe = find_recipe("8da4w-g32")
    plan = plan_layers(recipe, layer_shapes(float_shapes(teacher.config)))
    student = prepare_qat(load_model(folder).float(), plan, recipe).eval()
    batch = torch.randint(teacher.config.vocab_size, (2, 65), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head = Head(teacher.hidden(batch[:, :-1]).flatten(0, 1), teacher.head.weight)
        return student_head(student, batch), head


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("k", [8, 64])
def test_the_loss_from_the_cache_is_below_the_whole_one_by_the_divergence_inside_the_tail(rounded_nano, temperature, k):
    student, teacher = rounded_nano
    options = {"temperature": temperature, "cross_entropy": 0.0, "chunk": 50}
    whole = float(distillation_loss(student, teacher, None, **options))
    summary = summarize(teacher, top_k=k, temperatures=TEMPERATURES, chunk=50)
    found = float(distillation_loss(student, at_temperature(summary, temperature, TEMPERATURES), None, **options))
    gap = float(lost(student, teacher, summary.ids_MK, temperature).mean())
    most = float(bound(student, teacher, summary.ids_MK, temperature).mean())
    print(f"T {temperature} K {k}: whole {whole:.6f}, cached {found:.6f}, left out {gap:.6f}, at most {most:.6f}")
    assert found + gap == pytest.approx(whole, abs=2e-6 * temperature**2)
    assert 0 < gap < most


def test_float16_changes_the_loss_far_less_than_the_tail_does(rounded_nano):
    student, teacher = rounded_nano
    options = {"temperature": 1.0, "cross_entropy": 0.0, "chunk": 128}
    summary = summarize(teacher, top_k=64, temperatures=(1.0,), chunk=128)
    kind = record_type(window=64, top_k=64, num_temperatures=1, vocab_size=4096)
    records = np.zeros(2, kind)
    write_records(summary, records)
    exact, stored = (
        float(distillation_loss(student, at_temperature(s, 1.0, (1.0,)), None, **options))
        for s in (summary, read_records([records]))
    )
    print(f"float16 changes the loss by {stored / exact - 1:+.2e}")
    assert stored == pytest.approx(exact, rel=2**-11)
