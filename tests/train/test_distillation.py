"""The loss in chunks against the plain one, written down here from its definition with torch's own functions."""

import math

import pytest
import torch
from torch.nn import functional

from train.distillation import CachedTargets, Head, chunked_cross_entropy, distillation_loss
from train.divergence import softmax

M, C = 37, 8


def heads(vocabulary, *, dtype=torch.float64, positions=M, width=C, scale=1.0):
    """A student with gradients, a teacher and targets."""
    generator = torch.Generator().manual_seed(vocabulary)

    def random(*shape):
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    student = Head(random(positions, width).requires_grad_(), random(vocabulary, width).requires_grad_())
    targets = torch.randint(vocabulary, (positions,), generator=generator)
    return student, Head(random(positions, width), random(vocabulary, width)), targets


def plain(student, teacher, targets, temperature, share):
    logits, other = student.hidden_MC @ student.weight_VC.T, teacher.hidden_MC @ teacher.weight_VC.T
    kl = functional.kl_div(
        torch.log_softmax(logits / temperature, 1),
        torch.log_softmax(other / temperature, 1),
        log_target=True,
        reduction="batchmean",
    )
    return (1 - share) * temperature**2 * kl + share * functional.cross_entropy(logits, targets)


def cached(teacher, k, temperature=1.0):
    log_probs = torch.log_softmax(teacher.hidden_MC @ teacher.weight_VC.T / temperature, 1)
    kept, ids = log_probs.topk(k, dim=1)
    tail = log_probs.scatter(1, ids, -torch.inf).logsumexp(1)
    return CachedTargets(ids.int(), kept, tail, temperature=temperature)


def plain_of_few(student, targets, temperature):
    """K + 1 outcomes, the last of which is every other token."""
    probs = torch.softmax(student.hidden_MC @ student.weight_VC.T / temperature, 1)
    ids = targets.ids_MK.long()
    others = torch.ones_like(probs).scatter(1, ids, 0.0)
    own = torch.cat([probs.gather(1, ids), (probs * others).sum(1, keepdim=True)], 1)
    wanted = torch.cat([targets.log_probs_MK, targets.tail_M.unsqueeze(1)], 1)
    return temperature**2 * functional.kl_div(own.log(), wanted, log_target=True, reduction="batchmean")


def check_equal(student, value, expected, bound):
    """Loss and gradients, relative to their largest entry or to 1; scaled, as gradient accumulation scales them."""
    found = [value, *torch.autograd.grad(value * 0.25, student)]
    right = [expected, *torch.autograd.grad(expected * 0.25, student, retain_graph=True)]
    for a, b in zip(found, right, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert float((a - b).detach().abs().max()) <= bound * max(1.0, float(b.detach().abs().max()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_loss_and_gradients_are_those_of_the_definition(dtype, share, temperature):
    for vocabulary in (1, 2, 97, 1000):
        student, teacher, targets = heads(vocabulary, dtype=dtype)
        expected = plain(student, teacher, targets, temperature, share)
        for chunk in (1, 10, M, 1000):  # 10 does not divide 37
            found = distillation_loss(
                student, teacher, targets, temperature=temperature, cross_entropy=share, chunk=chunk
            )
            check_equal(student, found, expected, 1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_against_cached_targets_it_is_the_divergence_of_k_and_one_outcomes(temperature):
    student, teacher, targets = heads(97)
    for k in (1, 5, 96):
        few = cached(teacher, k, temperature)
        expected = plain_of_few(student, few, temperature)
        found = distillation_loss(student, few, None, temperature=temperature, cross_entropy=0.0, chunk=10)
        check_equal(student, found, expected, 1e-12)
    few = cached(teacher, 20, temperature)
    expected = plain_of_few(student, few, temperature)
    mixed = distillation_loss(student, few, targets, temperature=temperature, cross_entropy=0.4, chunk=10)
    logits = student.hidden_MC @ student.weight_VC.T
    check_equal(student, mixed, 0.6 * expected + 0.4 * functional.cross_entropy(logits, targets), 1e-12)


def test_cached_targets_that_hold_the_whole_vocabulary_are_the_teacher():
    student, teacher, _ = heads(50)
    few = cached(teacher, 50)
    assert bool((few.tail_M == -math.inf).all())
    found = distillation_loss(student, few, None, temperature=1.0, cross_entropy=0.0, chunk=16)
    check_equal(student, found, plain(student, teacher, torch.zeros(M, dtype=torch.int64), 1.0, 0.0), 1e-12)


def test_a_chunk_of_any_size_gives_the_same_to_rounding():
    student, teacher, targets = heads(300, dtype=torch.float32)
    whole = distillation_loss(student, teacher, targets, temperature=2.0, cross_entropy=0.2, chunk=M)
    gradients = torch.autograd.grad(whole, student)
    for chunk in (1, 2, 7, 36):
        part = distillation_loss(student, teacher, targets, temperature=2.0, cross_entropy=0.2, chunk=chunk)
        assert float((part - whole).detach().abs()) <= 1e-6 * float(whole.detach())
        for a, b in zip(torch.autograd.grad(part, student), gradients, strict=True):
            assert float((a - b).abs().max()) <= 1e-6


def test_distributions_far_apart_give_finite_numbers():
    """Logits in the hundreds: probabilities of 0 on either side."""
    student, teacher, targets = heads(200, dtype=torch.float32, scale=12.0)
    exact = [Head(*(t.detach().double().requires_grad_() for t in head)) for head in (student, teacher)]
    expected = plain(*exact, targets, 1.0, 0.5)
    value = distillation_loss(student, teacher, targets, temperature=1.0, cross_entropy=0.5, chunk=8)
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for few in (cached(teacher, 4), cached(teacher, 200)):
        value = distillation_loss(student, few, targets, temperature=1.0, cross_entropy=0.5, chunk=8)
        assert all(bool(torch.isfinite(g).all()) for g in torch.autograd.grad(value, student))
        assert math.isfinite(float(value.detach()))


def test_a_student_equal_to_its_teacher_has_no_loss_and_no_gradient():
    student, _, _ = heads(97, dtype=torch.float32)
    value = distillation_loss(student, student, None, temperature=1.0, cross_entropy=0.0, chunk=8)
    gradients = torch.autograd.grad(value, student)
    assert abs(float(value.detach())) < 1e-6 and all(float(g.abs().max()) < 1e-6 for g in gradients)


def test_the_cross_entropy_of_next_tokens_needs_no_teacher():
    student, _, targets = heads(97, dtype=torch.float32)
    expected = functional.cross_entropy(student.hidden_MC @ student.weight_VC.T, targets)
    check_equal(student, chunked_cross_entropy(student, targets, chunk=10), expected, 1e-6)


def test_without_gradients_it_is_the_same_loss():
    student, teacher, targets = heads(97, dtype=torch.float32)
    options = {"temperature": 1.5, "cross_entropy": 0.3, "chunk": 10}
    with_gradient = distillation_loss(student, teacher, targets, **options)
    with torch.no_grad():
        without = distillation_loss(student, teacher, targets, **options)
    assert not without.requires_grad and torch.equal(with_gradient.detach(), without)
    assert not distillation_loss(Head(*(t.detach() for t in student)), teacher, targets, **options).requires_grad


def test_only_the_gradients_that_are_asked_for_are_made():
    student, teacher, targets = heads(97)
    options = {"temperature": 1.0, "cross_entropy": 0.3, "chunk": 10}
    both = torch.autograd.grad(distillation_loss(student, teacher, targets, **options), student)
    for i in (0, 1):
        one = Head(*(t.detach().requires_grad_(i == j) for j, t in enumerate(student)))
        distillation_loss(one, teacher, targets, **options).backward()
        assert torch.equal(one[i].grad, both[i]) and one[1 - i].grad is None


def test_the_teacher_gets_no_gradient():
    student, teacher, targets = heads(97)
    teacher = Head(*(t.requires_grad_() for t in teacher))
    distillation_loss(student, teacher, targets, temperature=1.0, cross_entropy=0.0, chunk=10).backward()
    assert teacher.hidden_MC.grad is None and teacher.weight_VC.grad is None


def test_a_second_backward_is_refused_and_not_wrong():
    student, teacher, targets = heads(97)
    value = distillation_loss(student, teacher, targets, temperature=1.0, cross_entropy=0.0, chunk=10)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute it anew"):
        value.backward()


@pytest.mark.parametrize("how", ["bfloat16 inputs", "autocast"])
def test_in_bfloat16_it_is_as_close_to_the_truth_as_the_plain_computation(how):
    student, teacher, targets = heads(200, dtype=torch.float32)
    rounded = [Head(*(t.detach().bfloat16().double().requires_grad_() for t in head)) for head in (student, teacher)]
    true = plain(*rounded, targets, 1.0, 0.3)
    true_gradients = torch.autograd.grad(true, rounded[0])
    kind = torch.bfloat16 if how == "bfloat16 inputs" else torch.float32
    mine, other = (Head(*(t.detach().to(kind).requires_grad_() for t in head)) for head in (student, teacher))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        value = distillation_loss(mine, other, targets, temperature=1.0, cross_entropy=0.3, chunk=10)
        logits, others = (functional.linear(*head).float() for head in (mine, other))
    naive = 0.7 * functional.kl_div(
        torch.log_softmax(logits, 1), torch.log_softmax(others, 1), log_target=True, reduction="batchmean"
    ) + 0.3 * functional.cross_entropy(logits, targets)
    assert value.dtype == torch.float32
    for found, plainly, right in zip(
        torch.autograd.grad(value, mine), torch.autograd.grad(naive, mine), true_gradients, strict=True
    ):
        assert found.dtype == kind
        assert float((found - right).norm()) < 1.1 * float((plainly - right).norm()) + 1e-9
    assert float(value.detach()) == pytest.approx(float(naive.detach()), rel=1e-6)


def test_it_repeats_bit_for_bit_in_deterministic_mode():
    student, teacher, targets = heads(97, dtype=torch.float32)
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        for other in (teacher, cached(teacher, 5)):
            first, second = (
                torch.autograd.grad(
                    distillation_loss(student, other, targets, temperature=1.0, cross_entropy=0.3, chunk=10), student
                )
                for _ in range(2)
            )
            assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    finally:
        torch.set_deterministic_debug_mode(before)


def test_the_log_of_the_sum_is_exact_where_the_logits_are_large():
    logits = torch.tensor([[1000.0, 999.0, -1000.0], [-500.0, -500.0, -500.0]])
    probs, log_sum = softmax(logits)
    assert torch.equal(probs, torch.softmax(logits, 1))
    assert torch.allclose(log_sum, torch.logsumexp(logits, 1), rtol=1e-7)


def peak_bytes(work):
    """The most bytes that were allocated at once while `work` ran, temporaries inside operators included."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("kind", ["teacher", "cached", "no teacher"])
def test_two_tensors_of_chunk_by_vocabulary_are_all_that_is_held(kind):
    vocabulary, chunk, positions = 40_000, 64, 128
    student, teacher, targets = heads(vocabulary, dtype=torch.float32, positions=positions, width=4)
    other = {"teacher": teacher, "cached": cached(teacher, 8, 2.0), "no teacher": None}[kind]
    share = 1.0 if other is None else 0.5
    gradients = 4 * (positions + vocabulary) * 4 * 2  # and a copy of the table's, if autograd makes one
    blocks = 5 << 20  # of 1 MiB each

    def work():
        loss = distillation_loss(student, other, targets, temperature=2.0, cross_entropy=share, chunk=chunk)
        torch.autograd.grad(loss, student)

    tensors = 2 if kind == "teacher" else 1
    peak = peak_bytes(work)
    print(f"{kind}: {peak / 2**20:.1f} MiB, of which {tensors} x {4 * chunk * vocabulary / 2**20:.1f} are logits")
    assert peak < tensors * 4 * chunk * vocabulary + gradients + blocks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it must be a finite number above 0"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"cross_entropy": 1.5}, "share is 1.5; it must be from 0 to 1"),
        ({"chunk": 0}, "chunk is 0 positions"),
        ({"targets": None}, "37 positions and the targets are none"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, r"the targets are \[3\]"),
        ({"teacher": None}, "needs a teacher"),
        ({"teacher": Head(torch.zeros(M, C), torch.zeros(7, C))}, "the teacher has 37 positions and 7 tokens"),
        ({"teacher": Head(torch.zeros(5, C), torch.zeros(97, C))}, "the teacher has 5 positions"),
        ({"teacher": Head(torch.zeros(M, C), torch.zeros(97, 3))}, r"the teacher's hidden state is \[37, 8\]"),
        ({"student": Head(torch.zeros(2, M, C), torch.zeros(97, C))}, "the student's hidden state"),
        ({"student": Head(torch.zeros(0, C), torch.zeros(97, C))}, "at least one position"),
        ({"teacher": CachedTargets(torch.zeros(M, 4), torch.zeros(M, 3), torch.zeros(M))}, "cached targets of"),
        (
            {"teacher": CachedTargets(torch.zeros(M, 4), torch.zeros(M, 4), torch.zeros(M), temperature=2.0)},
            "cached targets are of temperature 2.0, the loss of 1.0",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(change, message):
    student, teacher, targets = heads(97, dtype=torch.float32)
    given = {"student": student, "teacher": teacher, "targets": targets}
    given |= {"temperature": 1.0, "cross_entropy": 0.3, "chunk": 10} | change
    with pytest.raises(ValueError, match=message):
        distillation_loss(given.pop("student"), given.pop("teacher"), given.pop("targets"), **given)
