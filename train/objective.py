"""What a run minimises: next tokens, or a teacher's distribution under fake quantization.

Shapes: B sequences, T tokens of a window, C model width, V vocabulary, M = B * T positions.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from model.checkpoint import float_shapes, load_model, open_tensors, read_info
from model.checkpoint_info import CheckpointInfo, QuantizationInfo
from model.files import sha256_file
from model.transformer import Transformer
from quant.checkpoint import load_quantized
from quant.fake_quant import FakeQuantLinear, prepare_qat
from quant.integers import QuantizedTensor, dequantize
from quant.plan import layer_shapes
from quant.recipe import LayerScheme, Recipe, find_recipe, plan_layers, read_overrides
from train.distillation import CachedTargets, Head, chunked_cross_entropy, distillation_loss
from train.settings import RunSettings
from train.teacher_cache import TeacherCache
from train.teacher_facts import TeacherFacts, teacher_sha256

_log = logging.getLogger("pocketlm")


class Objective(Protocol):
    """A loss over batches of int64 [B, T + 1], whose [:, :-1] predict [:, 1:]."""

    def to(self, device: torch.device) -> None: ...

    def prepare(self, steps: Iterable[Tensor], *, total: int, progress: Callable[[str], None]) -> None:
        """Called once, with the batches of all steps to come and their number of positions together."""
        ...

    def loss(self, model: Transformer, batch: Tensor) -> Tensor:
        """What is minimised, a mean over B * T positions."""
        ...

    def figures(self, model: Transformer, batch: Tensor) -> dict[str, Tensor]:
        """What an evaluation prints, each a mean over the positions; `loss` is that of next tokens in nats."""
        ...


class NextToken:
    """Cross-entropy of next tokens in nats."""

    def to(self, device: torch.device) -> None:
        """There is nothing to move."""

    def prepare(self, steps: Iterable[Tensor], *, total: int, progress: Callable[[str], None]) -> None:
        """There is nothing to prepare."""

    def loss(self, model: Transformer, batch: Tensor) -> Tensor:
        logits_BTV = model(batch[:, :-1])
        return nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), batch[:, 1:].flatten())

    def figures(self, model: Transformer, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self.loss(model, batch)}


class SelfDistillation:
    """A model under fake quantization learns the distribution of its teacher, and a share of next tokens if asked.

    Args:
        teacher: in eval mode, without fake quantization; None where the share of next tokens is 1.
        cache: what the teacher said, where it is kept on disk; evaluations ask the teacher itself.
    """

    def __init__(self, settings: RunSettings, teacher: Transformer | None, cache: TeacherCache | None = None) -> None:
        assert settings.distill is not None
        self.teacher = teacher
        self._distill, self._cache = settings.distill, cache
        self._positions, self._is_half = settings.train.micro_batch, settings.train.precision == "bfloat16"

    def to(self, device: torch.device) -> None:
        if self.teacher is not None:
            self.teacher.to(device)

    def prepare(self, steps: Iterable[Tensor], *, total: int, progress: Callable[[str], None]) -> None:
        if self._cache is None or self.teacher is None:
            return
        with torch.autocast(self.teacher.head.weight.device.type, dtype=torch.bfloat16, enabled=self._is_half):
            self._cache.fill(
                (batch[:, :-1] for batch in steps),
                self._ask,
                total=total,
                positions=self._positions,
                chunk=self._distill.chunk,
                progress=progress,
            )

    def loss(self, model: Transformer, batch: Tensor) -> Tensor:
        distill = self._distill
        return distillation_loss(
            student_head(model, batch),
            self._targets(batch[:, :-1]) if distill.cross_entropy < 1.0 else None,
            batch[:, 1:].flatten(),
            temperature=distill.temperature,
            cross_entropy=distill.cross_entropy,
            chunk=distill.chunk,
        )

    def _targets(self, tokens_BT: Tensor) -> Head | CachedTargets:
        if self._cache is None:
            return self._ask(tokens_BT)
        return self._cache.targets(tokens_BT, temperature=self._distill.temperature)

    def _ask(self, tokens_BT: Tensor) -> Head:
        assert self.teacher is not None
        with torch.no_grad():
            weight_VC = self.teacher.head.weight
            return Head(self.teacher.hidden(tokens_BT.to(weight_VC.device)).flatten(0, 1), weight_VC)

    def figures(self, model: Transformer, batch: Tensor) -> dict[str, Tensor]:
        """The next-token loss, and the KL divergence from the teacher's distribution in nats."""
        student, targets, chunk = student_head(model, batch), batch[:, 1:].flatten(), self._distill.chunk
        figures = {"loss": chunked_cross_entropy(student, targets, chunk=chunk)}
        if self.teacher is not None:
            teacher = self._ask(batch[:, :-1])
            figures["kl"] = distillation_loss(student, teacher, None, temperature=1.0, cross_entropy=0.0, chunk=chunk)
        return figures


def student_head(model: Transformer, batch: Tensor) -> Head:
    """The two factors of the logits [M, V] of a batch int64 [B, T + 1], fake-quantized where the model is."""
    hidden_MC = model.hidden(batch[:, :-1]).flatten(0, 1)
    head = model.head
    return Head(*head.operands(hidden_MC)) if isinstance(head, FakeQuantLinear) else Head(hidden_MC, head.weight)


def qat_plan(settings: RunSettings) -> tuple[Recipe, dict[str, LayerScheme], QuantizationInfo]:
    """The recipe and every layer's scheme of a QAT run, and how its checkpoint records them.

    Raises:
        ValueError: the recipe cannot hold the model, or an override matches no layer.
    """
    qat = settings.qat
    assert qat is not None
    recipe = find_recipe(qat.recipe)
    plan = plan_layers(
        recipe, layer_shapes(float_shapes(settings.model.shape)), qat.group_size, read_overrides(qat.overrides)
    )
    group = recipe.group_size if qat.group_size is None else qat.group_size
    layers = {name: scheme.to_json() for name, scheme in plan.items()}
    return recipe, plan, QuantizationInfo(recipe=recipe.name, group_size=group, layers=layers, method="trained")


def start_qat(settings: RunSettings, base: Path) -> tuple[Transformer, SelfDistillation]:
    """The model of a QAT run before its first step, and its objective.

    Raises:
        ValueError: a checkpoint is quantized already, damaged, or of another shape or vocabulary than the other; or
            it has learned scales and the run would drop them.
    """
    assert settings.qat is not None and settings.distill is not None and settings.model.checkpoint is not None
    source = base / settings.model.checkpoint
    info = read_info(source)
    recipe, plan, _ = qat_plan(settings)
    model = load_model(source)
    if settings.qat.start is not None:
        scales = _begin_with_codes(model, base / settings.qat.start, qat_plan(settings)[2])
    else:
        scales = _start_scales(source, info, learn_ranges=settings.qat.learn_ranges)
    prepare_qat(model, plan, recipe, learn_ranges=settings.qat.learn_ranges, start_scales=scales)
    if settings.distill.cross_entropy == 1.0:
        return model, SelfDistillation(settings, None)
    folder = source if settings.distill.teacher is None else base / settings.distill.teacher
    _check_teacher(folder, source, max(settings.train.windows))
    cache = None
    if settings.distill.cache is not None:
        facts = TeacherFacts(
            sha256=teacher_sha256(folder),
            vocab_size=info.config.vocab_size,
            top_k=min(settings.distill.top_k, info.config.vocab_size),
            precision=settings.train.precision,
        )
        cache = TeacherCache.open(base / settings.distill.cache, facts, temperature=settings.distill.temperature)
    return model, SelfDistillation(settings, load_model(folder).eval().requires_grad_(False), cache)


def _begin_with_codes(model: Transformer, folder: Path, trained_for: QuantizationInfo) -> dict[str, Tensor]:
    """Gives a float model the weights that a quantized checkpoint's codes stand for; returns its scales by layer.

    Raises:
        ValueError: the checkpoint is not quantized, or not as this run trains.
    """
    found = read_info(folder)
    if found.quantization is None or found.config != model.config:
        what = "is not quantized" if found.quantization is None else "is of another model"
        raise ValueError(f"qat.start {folder} {what}; give what `pocketlm quantize` made of this run's checkpoint")
    if found.quantization.layers != trained_for.layers:
        raise ValueError(
            f"qat.start {folder} is quantized otherwise than this run trains ({found.quantization.recipe} against "
            f"{trained_for.recipe}, or other groups or overrides); quantize it with the same ones"
        )
    scales = {}
    with torch.no_grad():
        for name, tensor in load_quantized(folder).items():
            if isinstance(tensor, QuantizedTensor) and tensor.scheme.reason is None:
                model.get_parameter(f"{name}.weight").copy_(dequantize(tensor))
                scales[name] = tensor.scales
    return scales


def _start_scales(source: Path, info: CheckpointInfo, *, learn_ranges: bool) -> dict[str, Tensor]:
    if not info.learned_scales:
        return {}
    if not learn_ranges:
        raise ValueError(
            f"{source} has learned scales, which this run would drop; set qat.learn_ranges = true, or begin with the "
            "float checkpoint that they were trained from"
        )
    reader = open_tensors(source)
    suffix = ".weight_scale"
    return {name.removesuffix(suffix): reader.get(name) for name in reader.names if name.endswith(suffix)}


def _check_teacher(folder: Path, source: Path, window: int) -> None:
    teacher, student = read_info(folder), read_info(source)
    if teacher.quantization is not None:
        raise ValueError(f"the teacher {folder} is quantized ({teacher.quantization.recipe}); give a float checkpoint")
    if teacher.config.vocab_size != student.config.vocab_size:
        raise ValueError(
            f"the teacher {folder} has a vocabulary of {teacher.config.vocab_size:,}, {source} one of "
            f"{student.config.vocab_size:,}; a teacher needs the same tokenizer"
        )
    files = [c / i.tokenizer.file for c, i in ((folder, teacher), (source, student)) if i.tokenizer is not None]
    if len(files) == 2 and sha256_file(files[0]) != sha256_file(files[1]):
        raise ValueError(f"{files[0]} and {files[1]} differ; a teacher needs the same tokenizer")
    if teacher.config.max_context < window:
        raise ValueError(
            f"the teacher {folder} was trained for {teacher.config.max_context} tokens, a window has {window}; lower "
            "train.window"
        )
    if teacher.config != student.config:
        _log.info(
            "the teacher %s has another shape than %s: this is distillation, not self-distillation", folder, source
        )
