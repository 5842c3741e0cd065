"""What a training run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rnnbp.errors import UserError
from rnnbp.recomputing import segment_steps
from rnnbp.registry import parse_spec
from rnnbp.schemes import parse
from rnnbp.training.flow import FlowConfig


@dataclass(frozen=True)
class Config:
    """A run, as plain values. None stands for what the data suggest."""

    files: tuple[str, ...] = ()  # text to learn; none: the standard library's source files
    task: str | None = None  # NAME[:option=value,…], in place of text
    cell: str = "lstm"
    layers: int = 1
    residual: bool = False  # every layer but the first adds its input
    hidden: int = 128
    time_steps: int | None = None
    batch: int | None = None
    steps: int = 1000
    optimizer: str = "adamw"
    lr: float = 3e-3
    dropout: float = 0.0
    variational: bool = False  # one dropout mask for all steps of a sequence
    init: str | None = None  # a scheme of `rnnbp.schemes`; none: as the cell draws
    l2: float = 0.0
    weight_decay: float | None = None  # none: as the optimizer says
    ar: float = 0.0
    tar: float = 0.0
    clip_step: float | None = None
    clip_value: float | None = None
    clip_tensor: float | None = None
    clip_norm: float | None = None
    truncation: str = "full"
    remat: int | str | None = None  # steps of a segment that is computed again, or "sqrt"
    loss: str | None = None
    dtype: str = "float32"
    backend: str = "numpy"
    device: str | None = None
    seed: int = 0
    threads: int | None = None  # of the CPU, as set by whoever started the process
    save_every: int = 100
    flow: str | None = None  # every=N[,sequences=B][,measures=NAME+NAME]: what is measured of the gradient's flow

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(map(str, self.files)))
        for name in ("layers", "hidden", "time_steps", "batch", "steps", "save_every", "threads"):
            _check(name, getattr(self, name), int, "a whole number of at least 1")
        for name in ("lr", "clip_step", "clip_value", "clip_tensor", "clip_norm"):
            _check(name, getattr(self, name), (int, float), "a number above 0")
        for name in ("l2", "weight_decay", "ar", "tar"):
            _check(name, getattr(self, name) or None, (int, float), "a number >= 0")
        if self.weight_decay is not None and "weight_decay" in parse_spec(self.optimizer)[1]:
            raise UserError(f"--weight-decay and --optimizer {self.optimizer} say the same: leave one of them out")
        if self.remat is not None:
            segment_steps(self.remat, 1)
        if self.init is not None:
            parse(self.init)
        if self.flow is not None:
            FlowConfig.parse(self.flow)
        if not isinstance(self.dropout, (int, float)) or isinstance(self.dropout, bool) or not 0 <= self.dropout < 1:
            raise UserError(f"--dropout must be a number of at least 0 and below 1; got {self.dropout!r}")
        if self.variational and not self.dropout:
            raise UserError("--variational is about the masks of --dropout, which is not given: add it")
        if self.seed < 0:
            raise UserError(f"--seed must be at least 0; got {self.seed}")
        if self.dtype not in ("float32", "float64"):
            raise UserError(f"--dtype must be float32 or float64 for training; got {self.dtype!r}")
        if self.task is not None and self.files:
            raise UserError(f"text files and --task {self.task} exclude each other: name one of them")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"files": list(self.files)}

    @property
    def limits(self) -> dict[str, float]:
        """How whole gradients are clipped: the limits of `training.clipping` that are set."""
        named = {"value": self.clip_value, "tensor": self.clip_tensor, "norm": self.clip_norm}
        return {name: limit for name, limit in named.items() if limit is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The inverse of `to_dict`."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def _check(name: str, value: Any, kind: Any, rule: str) -> None:
    fits = isinstance(value, kind) and not isinstance(value, bool) and 0 < value < float("inf")
    if value is not None and not fits:
        raise UserError(f"--{name.replace('_', '-')} must be {rule}; got {value!r}")
