"""A package's program once more with the logits of all positions, so that whole chunks are scored at once.

It is made from the package's quantized checkpoint and trusted only after a proof in the same call: every code and scale
of both files equals the checkpoint's, and its logits are those of the shipped file up to that file's own noise.
Shapes: T tokens of one call, V vocabulary.
"""

import dataclasses
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from evaluation.scorers import PackageScorer, block_rows
from evaluation.scoring import Progress
from evaluation.things import Thing
from export.describe import checkpoint_sha256
from export.export import expected_weights
from export.integers import compare_integers
from export.manifest import Manifest
from export.plan import ExportPlan, plan_export
from export.program import Program
from export.pte import read_pte
from export.runner import load_method
from export.target import find_target
from export.xnnpack import lower, write_pte
from model.checkpoint import read_info
from model.checkpoint_info import CheckpointInfo
from model.errors import EnvironmentFault, GateError
from model.files import atomic_output
from model.tokenizer_readers import Tokenizer
from quant.checkpoint import build_model
from quant.recipe import find_recipe

TWIN = "a twin of the shipped program, whole chunks at once, proved in this call"
MOST_SPOTS = 64  # positions whose logits are compared: the golden prompt, what follows it, and a text
SPOT_TEXT = " The quick brown fox jumps over the lazy dog. 0123456789 def f(x): return x\n"

_CHUNK = 128
_LAYOUT = 1  # of what is cached; raise it when the program of a twin changes


@dataclass(frozen=True, kw_only=True)
class SpotCheck:
    """How far the twin's logits lie from the shipped file's."""

    positions: int
    largest: float  # difference of any logit from the nearer of two ways to run the shipped file
    bound: float  # twice the shipped file's own noise, here or at its golden prompt


class TwinScorer:
    """`evaluation.scorers.Scorer` over the twin.

    Args:
        method: its `forward`, T from 1 to `chunk`, giving logits [1, T, V].
    """

    def __init__(self, program: Path, *, chunk: int, vocab_size: int) -> None:
        self._method = load_method(program)
        self._chunk = chunk
        self._rows = block_rows(vocab_size)

    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[Tensor]:
        """See `evaluation.scorers.Scorer.rows`."""
        waiting = torch.empty(0)
        for at in range(0, len(ids), self._chunk):
            tokens = torch.tensor([list(ids[at : at + self._chunk])], dtype=torch.int64)
            logits_TV = self._method.execute((tokens, torch.tensor([at], dtype=torch.int64)))[0][0]
            new = logits_TV[max(0, start - at) :]
            waiting = torch.cat([waiting, new]) if len(waiting) else new
            while len(waiting) >= self._rows:
                yield waiting[: self._rows]
                waiting = waiting[self._rows :]
        if len(waiting):
            yield waiting


def find_package(things: Sequence[Thing], checkpoint: Path) -> int:
    """The index of the package that was made of this quantized checkpoint; the only one, if none names it.

    Raises:
        ValueError: there is no package, or several and none of them names the checkpoint.
    """
    digest = checkpoint_sha256(checkpoint, read_info(checkpoint))
    packages = [i for i, thing in enumerate(things) if thing.manifest is not None and not thing.is_simulated]
    made = [i for i in packages if _manifest(things[i]).origin.checkpoint_sha256 == digest]
    if made or len(packages) == 1:
        return (made or packages)[0]
    raise ValueError(
        f"none of the {len(packages)} packages was made of {checkpoint}; a twin is for a package that is scored: give "
        "its own quantized checkpoint"
    )


def swap_in_twin(thing: Thing, checkpoint: Path, tokenizer: Tokenizer, *, progress: Progress) -> tuple[Thing, str]:
    """The package run by its twin from now on, and a line that tells of the proof.

    Raises:
        ValueError, GateError, EnvironmentFault: see `open_twin` and `check_spots`.
    """
    manifest, shipped = _manifest(thing), thing.scorer
    if thing.is_simulated:
        raise ValueError(f"{thing.name} is a CoreML package, and a twin is for XNNPACK packages; leave its --twin out")
    assert isinstance(shipped, PackageScorer) and thing.program is not None
    twin = open_twin(thing.program, manifest, checkpoint, progress=progress)
    ids = [*manifest.golden.prompt_ids, *manifest.golden.ids, *tokenizer.encode(SPOT_TEXT, first=False)]
    check = check_spots(twin, shipped, ids[: thing.room - 1 if thing.room else None], manifest)
    note = (
        f"{thing.name} is run by a twin of its program: codes and scales equal, logits at {check.positions} positions "
        f"within {check.largest:.2g} of the shipped file's, whose own noise is {check.bound:.2g}"
    )
    info = read_info(checkpoint)
    method = None if info.quantization is None else info.quantization.method
    return dataclasses.replace(thing, scorer=twin, how=TWIN, method=method), note


def _manifest(thing: Thing) -> Manifest:
    assert thing.manifest is not None
    return thing.manifest


def open_twin(program: Path, manifest: Manifest, checkpoint: Path, *, progress: Progress) -> TwinScorer:
    """Makes the twin, or takes it from an earlier call, and proves its integers.

    Args:
        program: the package's own.
        checkpoint: the quantized one that the package was made from.

    Raises:
        ValueError: the checkpoint is not quantized, or of another shape or recipe than the package.
        GateError: a code or scale of the package or of the twin is not the checkpoint's.
        EnvironmentFault: the folder for twins belongs to somebody else.
    """
    info = read_info(checkpoint)
    plan = _plan(info, manifest, checkpoint)
    expected = expected_weights(checkpoint)
    problems = compare_integers(read_pte(program), expected)
    if problems:
        raise GateError(f"the package's program is not made of {checkpoint}: {problems[0]}; leave --twin out")
    made = _cached(checkpoint, info, plan, progress)
    problems = compare_integers(read_pte(made), expected)
    if problems:
        raise GateError(f"the twin {made} is not made of {checkpoint}: {problems[0]}; remove it and run again")
    return TwinScorer(made, chunk=plan.chunk, vocab_size=info.config.vocab_size)


def check_spots(twin: TwinScorer, shipped: PackageScorer, ids: Sequence[int], manifest: Manifest) -> SpotCheck:
    """Compares logits at the first positions of a text.

    The shipped file is run one token at a time, and once more with each prefix as one prompt. How far these two lie
    apart is its own noise (INT8 activations flip at rounding edges); the twin must lie as near to one of them.

    Raises:
        GateError: the twin is further from the shipped file than twice that noise.
    """
    ids = ids[:MOST_SPOTS]
    ours_TV, one_by_one_TV = torch.cat(list(twin.rows(ids))), torch.cat(list(shipped.rows(ids)))
    as_prompt_TV = torch.stack([shipped.runner.logits(ids[: t + 1], 0) for t in range(len(ids))])
    shipped.forget()
    distance_T = torch.minimum(_furthest(ours_TV, one_by_one_TV), _furthest(ours_TV, as_prompt_TV))
    check = SpotCheck(
        positions=len(ids),
        largest=float(distance_T.max()),
        bound=max(manifest.golden.noise_floor, 2 * float(_furthest(as_prompt_TV, one_by_one_TV).max())),
    )
    if not check.largest <= check.bound:
        raise GateError(
            f"the twin's logits differ by {check.largest:.4g} from the shipped file's, whose noise is "
            f"{check.bound:.4g}: it is not the same program; leave --twin out"
        )
    return check


def _furthest(a_TV: Tensor, b_TV: Tensor) -> Tensor:
    return (a_TV - b_TV).abs().amax(-1)


def _plan(info: CheckpointInfo, manifest: Manifest, checkpoint: Path) -> ExportPlan:
    if info.quantization is None:
        raise ValueError(f"{checkpoint} is not quantized; a twin is made from the package's quantized checkpoint")
    if info.config != manifest.model.config or info.quantization.recipe != manifest.recipe.name:
        raise ValueError(
            f"{checkpoint} ({info.quantization.recipe}) has another shape or recipe than the package "
            f"({manifest.recipe.name}); give the quantized checkpoint that it was made from"
        )
    is_bounded = manifest.context.kind == "bounded"
    most = manifest.context.tokens if is_bounded else manifest.context.tokens - 1
    return plan_export(
        info,
        find_target(manifest.target),
        max_context=manifest.context.tokens,
        prefill_chunk=min(_CHUNK, most),
        bounded=is_bounded,
    )


def _cached(checkpoint: Path, info: CheckpointInfo, plan: ExportPlan, progress: Progress) -> Path:
    """The twin's program file, made if it is not there yet."""
    versions = " ".join(f"{name} {version(name)}" for name in ("torch", "executorch", "torchao"))
    key = f"{_LAYOUT} {checkpoint_sha256(checkpoint, info)} {plan.command} {versions}"
    place = _own_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pte"
    if not place.is_file():
        progress("lowering a twin of the program with all positions' logits")
        assert info.quantization is not None
        module = Program(
            build_model(checkpoint).requires_grad_(False),
            context=plan.context.tokens,
            chunk=plan.chunk,
            bounded=plan.is_bounded,
            cache_dtype=find_recipe(info.quantization.recipe).cache,
            all_positions=True,
        )
        with atomic_output(place, overwrite=True, folder=False) as partial:
            write_pte(lower(module, {}), partial)
    return place


def _own_folder() -> Path:
    """A folder of this user alone: what lies there is executed.

    Raises:
        EnvironmentFault: somebody else made it, or may write to it.
    """
    folder = Path(tempfile.gettempdir()) / f"pocketlm-twins-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise EnvironmentFault(f"{folder} is not a folder of yours alone; set TMPDIR to one that is")
    return folder
