"""The settings of a training run, as data: what a run file may say, in which units, and within which bounds.

Loads without torch. How a file becomes these settings stands in train/run_file.py.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from model.config import ModelConfig, find_preset
from train.bounds import at_least, number
from train.qat_settings import DistillSettings, QatSettings

OBJECTIVES = ("next-token", "qat")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What is trained: exactly one of a preset's shape, a shape of one's own, and a checkpoint to begin with.

    Raises:
        ValueError: several or none are given, or the preset is unknown.
    """

    preset: str | None = None
    config: ModelConfig | None = None  # beside a checkpoint: its shape, which run_file.py fills in
    checkpoint: str | None = None  # a float checkpoint's folder; training goes on with its weights

    def __post_init__(self) -> None:
        if (self.preset is None) == (self.config is None):
            raise ValueError(
                '[model] needs exactly one of preset = "...", checkpoint = "..." and a [model.config] table'
            )
        if self.preset is not None:
            find_preset(self.preset)

    @property
    def shape(self) -> ModelConfig:
        if self.config is not None:
            return self.config
        assert self.preset is not None
        return find_preset(self.preset)


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """Where the tokenizer comes from.

    Raises:
        ValueError: a folder together with a vocabulary size, or a size below the 256 bytes and the special tokens.
    """

    folder: str | None = None  # a checkpoint or Hugging Face folder whose tokenizer is taken; none: train one
    vocab_size: int | None = None  # of a trained one, special tokens included; none: the model's
    train_bytes: int = 256 << 20  # of text at most that the tokenizer is trained on

    def __post_init__(self) -> None:
        if self.folder is not None and self.vocab_size is not None:
            raise ValueError("tokenizer.vocab_size is for a tokenizer that is trained; leave it out beside folder")
        if self.vocab_size is not None:
            at_least("tokenizer.vocab_size", self.vocab_size, 258)  # 256 bytes, begin and end of a text
        at_least("tokenizer.train_bytes", self.train_bytes, 1)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which text, and which of its documents are held out.

    A source is a file or a folder of text, JSON lines (.jsonl) or parquet; "python:stdlib", the standard library's
    modules of the Python that runs; or "hf:NAME" or "hf:NAME:CONFIG", a Hugging Face dataset, streamed.

    Raises:
        ValueError: no source, or a number out of range.
    """

    sources: tuple[str, ...]
    include: tuple[str, ...] = ()  # patterns of file names that are read in folders; none: .txt .md .py .jsonl .parquet
    exclude: tuple[str, ...] = ()  # patterns of paths inside a folder that are left out, e.g. "encodings/*"
    field: str = "text"  # of JSON lines, parquet and datasets
    separator: str | None = None  # between documents in a text file, e.g. "<|endoftext|>"; none: a file is one document
    split: str = "train"  # of Hugging Face datasets
    max_documents: int | None = None  # of each Hugging Face dataset
    held_out_every: int = 20  # every n-th document is held out, the n-th first; 0: none
    shard_tokens: int = 1 << 24  # tokens in a file at most
    tokens: str | None = None  # a folder that keeps the tokenized text for several runs; none: the run's own

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError('data.sources names no text; give files, folders, "python:stdlib" or "hf:NAME"')
        if self.separator == "":
            raise ValueError("data.separator is empty; give the text between documents, or leave it out")
        at_least("data.held_out_every", self.held_out_every, 0)
        if self.held_out_every == 1:
            raise ValueError("data.held_out_every = 1 would hold out every document; 0 turns it off, 20 keeps 5 %")
        at_least("data.shard_tokens", self.shard_tokens, 1)
        if self.max_documents is not None:
            at_least("data.max_documents", self.max_documents, 1)


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """AdamW (arXiv 1711.05101) under a linear warm-up and a cosine to `min_lr` (arXiv 1608.03983).

    Raises:
        ValueError: a number out of range.
    """

    lr: float = 1e-3  # at the end of the warm-up
    min_lr: float = 1e-4  # at the last step
    warmup_steps: int = 100
    table_rate: float = 1.0  # of the input and output tables, as a share of the rate of all others
    norm_rate: float = 1.0  # of the norms' weights, likewise
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # of matrices; norms have none
    clip: float = 1.0  # bound of the gradient's 2-norm over all parameters

    def __post_init__(self) -> None:
        for name in ("lr", "table_rate", "norm_rate", "eps", "clip"):
            number(f"optimizer.{name}", getattr(self, name), above=0.0)
        for name in ("min_lr", "weight_decay"):
            number(f"optimizer.{name}", getattr(self, name))
        for name in ("beta1", "beta2"):
            number(f"optimizer.{name}", getattr(self, name), below=1.0)
        if self.min_lr > self.lr:
            raise ValueError(f"optimizer.min_lr {self.min_lr} is above optimizer.lr {self.lr}")
        at_least("optimizer.warmup_steps", self.warmup_steps, 0)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long, in which pieces and on what the model is trained.

    Raises:
        ValueError: a number out of range, or pieces that do not divide each other.
    """

    steps: int
    window: int  # tokens that the model sees at once
    batch_tokens: int  # predicted in one step of the optimizer
    micro_batch_tokens: int | None = None  # that are in memory at once; none: the whole batch
    final_window: int | None = None  # of the last `final_steps` steps, to reach the whole context
    final_steps: int = 0
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"  # of the matrix products; weights are always float32
    activation_checkpointing: bool = False  # keep each layer's input only, and compute the layer again going back
    device: str = "cpu"  # cpu, cuda, or auto: cuda where there is one
    threads: int = 0  # of the CPU; 0: as many as it has. The last bits of a run depend on it
    evaluate_every: int = 100  # steps; 0: at the end only
    evaluate_tokens: int = 65_536  # of the held-out text, each time
    save_every: int = 100  # steps
    keep: int = 2  # newest states that stay on disk
    checkpoint_dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights in the trained checkpoint

    def __post_init__(self) -> None:
        for name in ("steps", "window", "batch_tokens", "save_every", "evaluate_tokens"):
            at_least(f"train.{name}", getattr(self, name), 1)
        for name in ("final_steps", "seed", "threads", "evaluate_every"):
            at_least(f"train.{name}", getattr(self, name), 0)
        at_least("train.keep", self.keep, 2)  # the newest may be damaged
        if (self.final_window is None) != (self.final_steps == 0):
            raise ValueError("train.final_window and train.final_steps come together; give both or neither")
        if self.final_window is not None:
            at_least("train.final_window", self.final_window, 1)
        if self.final_steps > self.steps:
            raise ValueError(f"train.final_steps {self.final_steps} is more than train.steps {self.steps}")
        for window in self.windows:
            for name, tokens in (("batch_tokens", self.batch_tokens), ("micro_batch_tokens", self.micro_batch)):
                if tokens % window:
                    raise ValueError(f"train.{name} {tokens} is not a multiple of a window of {window} tokens")
        if self.batch_tokens % self.micro_batch:
            raise ValueError(
                f"train.batch_tokens {self.batch_tokens} is not a multiple of train.micro_batch_tokens "
                f"{self.micro_batch}"
            )
        for name in ("precision", "checkpoint_dtype"):
            if getattr(self, name) not in PRECISIONS:
                raise ValueError(f"train.{name} is {getattr(self, name)!r}; known: {', '.join(PRECISIONS)}")
        if self.device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"train.device is {self.device!r}; known: cpu, cuda, auto")

    @property
    def windows(self) -> tuple[int, ...]:
        return (self.window,) if self.final_window is None else (self.window, self.final_window)

    @property
    def micro_batch(self) -> int:
        return self.micro_batch_tokens if self.micro_batch_tokens is not None else self.batch_tokens

    def window_of(self, step: int) -> int:
        """Tokens in a window at a step, counted from 1."""
        if self.final_window is not None and step > self.steps - self.final_steps:
            return self.final_window
        return self.window


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A whole run.

    Raises:
        ValueError: parts that do not fit together.
    """

    name: str  # the run file's, without its ending: the output folder's name where none is given
    model: ModelSettings
    data: DataSettings
    train: LoopSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    objective: str = "next-token"
    qat: QatSettings | None = None
    distill: DistillSettings | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective is {self.objective!r}; known: {', '.join(OBJECTIVES)}")
        if self.objective == "qat":
            self._check_qat()
        elif self.qat is not None or self.distill is not None:
            raise ValueError('the tables [qat] and [distill] belong to objective = "qat"; add it, or leave them out')
        shape = self.model.shape
        for window in self.train.windows:
            if window > shape.max_context:
                raise ValueError(
                    f"a window of {window} tokens is longer than the model's context of {shape.max_context}; "
                    "lower train.window, or raise max_context in [model.config]"
                )
        if self.optimizer.warmup_steps > self.train.steps:
            raise ValueError(
                f"optimizer.warmup_steps {self.optimizer.warmup_steps} is more than train.steps {self.train.steps}"
            )
        if (self.tokenizer.vocab_size or 0) > shape.vocab_size:
            raise ValueError(
                f"tokenizer.vocab_size {self.tokenizer.vocab_size} is more than the model's {shape.vocab_size} entries"
            )

    def _check_qat(self) -> None:
        if self.model.checkpoint is None:
            raise ValueError('objective = "qat" begins with trained weights; give [model] checkpoint = "FOLDER"')
        if self.train.checkpoint_dtype != "float32":
            raise ValueError(
                "train.checkpoint_dtype must be float32 under QAT: rounding the weights again would move codes"
            )
        for name, kind in (("qat", QatSettings), ("distill", DistillSettings)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, kind())

    def to_json(self) -> dict[str, Any]:
        """Every setting with its value, defaults included; what the state of a run is checked against."""
        data = dataclasses.asdict(self)
        if self.model.config is not None:
            data["model"]["config"] = self.model.config.to_json()
        for name in ("data", "qat"):
            if data[name] is not None:
                data[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in data[name].items()}
        return data
