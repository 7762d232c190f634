"""The certificate that a package holds a checkpoint's numbers: what was compared with what, and what was not.

Only data and its two spellings, for people and for programs; export/verify.py makes it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export.coreml_execution import Execution

FORMAT = "pocketlm-certificate"
VERSION = 1
_KINDS = {
    "quantized": "quantized checkpoint",
    "trained": "float checkpoint, trained under fake quantization",
    "float": "float checkpoint",
}


@dataclass(frozen=True, kw_only=True)
class ComparedLayers:
    """Layers of one kind that are stored alike."""

    kind: str  # "attention.q_proj", "embedding", "head"
    scheme: str
    group_size: int | None
    layers: int
    codes: int
    scales: int
    floats: int  # weights that the recipe leaves float


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is particular to one backend's program."""

    problems: tuple[str, ...]
    settings: tuple[str, ...]
    not_compared: tuple[str, ...]
    execution: Execution | None = None


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What `verify` found. `problems` is empty when everything that was compared is equal, bit for bit, and what was
    executed within its bounds.
    """

    package: str
    manifest_sha256: str
    program: str
    program_bytes: int
    program_sha256: str
    checkpoint: str
    checkpoint_kind: str  # quantized, trained or float
    weights_sha256: str  # of the checkpoint's model.safetensors
    recipe: str
    method: str  # how the codes and scales were chosen; "trained": on the grid that training left
    learned_scales: int  # layers whose grid training learned
    rounded_scales: int  # learned scales that the file's type cannot hold exactly
    named_by_manifest: bool | None  # whether the manifest names this quantized checkpoint; None for a float one
    same_source: bool  # whether both go back to the same foreign checkpoint or training run
    layers: tuple[ComparedLayers, ...]
    is_tied: bool  # the last of `layers` is the table again, and counts once in the sums
    norms: int
    norm_values: int
    settings: tuple[str, ...]  # constants that were compared with the configuration
    tokenizer_sha256: str | None  # of both tokenizer files
    versions: dict[str, str]  # of what compared
    made_with: dict[str, str]  # of what exported
    not_compared: tuple[str, ...]
    problems: tuple[str, ...]
    execution: Execution | None = None  # of programs that are executed here: Core ML's

    @property
    def is_equal(self) -> bool:
        return not self.problems

    @property
    def codes(self) -> int:
        return sum(kind.codes for kind in self._once())

    @property
    def scales(self) -> int:
        return sum(kind.scales for kind in self._once())

    @property
    def floats(self) -> int:
        return sum(kind.floats for kind in self._once()) + self.norm_values

    @property
    def matrices(self) -> int:
        return sum(kind.layers for kind in self._once())

    def _once(self) -> Sequence[ComparedLayers]:
        return [kind for kind in self.layers if kind.kind != "head" or not self.is_tied]

    def to_json(self) -> dict[str, Any]:
        sums = {"matrices": self.matrices, "codes": self.codes, "scales": self.scales, "floats": self.floats}
        head = {"format": FORMAT, "version": VERSION, "equal": self.is_equal, "compared": sums}
        lists = ("layers", "settings", "not_compared", "problems")
        plain = asdict(self)
        execution = None if self.execution is None else self.execution.to_json()
        return head | plain | {key: list(plain[key]) for key in lists} | {"execution": execution}

    def lines(self) -> list[str]:
        """The certificate for people."""
        verdict = "bit for bit equal" if self.is_equal else f"NOT equal: {len(self.problems)} problems"
        return [
            f"{self.package} against {self.checkpoint}: {verdict}",
            f"  {self.codes:,} codes and {self.scales:,} scales of {self.matrices} matrices, {self.floats:,} floats",
            *(f"  problem: {problem}" for problem in self.problems),
            *self._sides(),
            *self._kinds(),
            *self._rest(),
        ]

    def _sides(self) -> list[str]:
        lines = [
            "the package",
            f"  {self.program}: {self.program_bytes:,} bytes, sha256 {self.program_sha256}",
            f"  manifest.json: sha256 {self.manifest_sha256}; every file is as it says",
            f"the {_KINDS[self.checkpoint_kind]}",
            f"  model.safetensors: sha256 {self.weights_sha256}",
            f"  {self._how()}",
        ]
        if self.rounded_scales:
            lines.append(f"  {self.rounded_scales:,} learned scales had to be rounded to the file's type")
        if self.named_by_manifest is not None:
            named = "is this checkpoint's" if self.named_by_manifest else "is another (it covers the description, too)"
            lines.append(f"  the manifest's checkpoint hash {named}")
        if not self.same_source:
            lines.append("  the manifest names another source (origin.source_sha256) than this checkpoint")
        return lines

    def _how(self) -> str:
        if not self.codes:
            return f"recipe {self.recipe}: the weights as they are"
        if self.checkpoint_kind == "quantized":
            return f"recipe {self.recipe}, method {self.method}: codes and scales as they are stored"
        if self.method == "trained":
            learned = f", {self.learned_scales} of the layers on learned scales" if self.learned_scales else ""
            return f"recipe {self.recipe}: codes and scales derived again on the grid of the training{learned}"
        return f"recipe {self.recipe}: codes and scales derived again by rounding to nearest (method {self.method})"

    def _kinds(self) -> list[str]:
        lines = ["compared"]
        for kind in self.layers:
            group = f" in groups of {kind.group_size}" if kind.group_size else ""
            what = f"{kind.floats:,} weights" if kind.floats else f"{kind.codes:,} codes, {kind.scales:,} scales"
            again = " (the table again)" if self.is_tied and kind.kind == "head" else ""
            lines.append(f"  {kind.layers:4} x {kind.kind}: {kind.scheme}{group}, {what}{again}")
        return lines

    def _rest(self) -> list[str]:
        lines = [f"  {self.norms:4} x norm: {self.norm_values:,} floats"] if self.norms else []
        lines += [f"  {setting}" for setting in self.settings]
        if self.tokenizer_sha256 is not None:
            lines.append(f"  the tokenizer: sha256 {self.tokenizer_sha256}")
        if self.execution is not None:
            lines += ["executed", *self.execution.lines()]
        lines += ["not compared", *(f"  {what}" for what in self.not_compared)]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        made = ", ".join(f"{name} {version}" for name, version in self.made_with.items())
        return [*lines, f"compared with {versions}", f"exported with {made}"]
