"""What a row of metrics sums up: the steps since the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnbp.runs import COLUMNS
from rnnbp.training.clipping import Clipped, StepClipped


@dataclass(frozen=True)
class Tally:
    """Sums over the steps since the last row of metrics; runs of format 1 have the first five alone."""

    steps: int = 0
    loss: float = 0.0
    grad_norm: float = 0.0
    clipped: int = 0
    seconds: float = 0.0
    penalty: float = 0.0
    fired: Mapping[str, int] = field(default_factory=dict)  # of the limits that are set, by their names in CLIPS
    cosine: float = 0.0
    cosine_min: float = 1.0
    step: StepClipped | None = None  # what clipping at every step did to the last one
    norm_ratio: float | None = 0.0  # None: an earlier version began the row, and did not count it

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Tally:
        """The inverse of `asdict`, also of what an earlier version wrote."""
        return cls(**{"norm_ratio": None if values["steps"] else 0.0} | dict(values))

    def plus(
        self,
        loss: float,
        penalty: float,
        norm: float,
        clipped: Clipped,
        step: StepClipped | None,
        seconds: float,
    ) -> Tally:
        """One step more: its loss and penalty, the gradient's norm before clipping, and what clipping did."""
        return Tally(
            self.steps + 1,
            self.loss + loss,
            self.grad_norm + norm,
            self.clipped + any(clipped.fired.values()),
            self.seconds + seconds,
            self.penalty + penalty,
            {name: self.fired.get(name, 0) + hit for name, hit in clipped.fired.items()},
            self.cosine + clipped.cosine,
            min(self.cosine_min, clipped.cosine),
            step,
            None if self.norm_ratio is None else self.norm_ratio + clipped.norm_ratio,
        )

    def row(self, step: int, valid_loss: float, tokens_per_step: int) -> dict[str, Any]:
        """The row of metrics that these steps make: means, and None for what was not asked for."""
        n, row = self.steps, dict.fromkeys(COLUMNS) | {"step": step, "valid_loss": valid_loss}
        if not n:
            return row
        row |= {"train_loss": self.loss / n, "grad_norm": self.grad_norm / n, "clipped": self.clipped / n}
        row |= {"penalty": self.penalty / n}
        row |= {f"clip_{name}": count / n for name, count in self.fired.items()}
        if self.fired:
            row |= {"cosine": self.cosine / n, "cosine_min": self.cosine_min}
            row |= {"norm_ratio": None if self.norm_ratio is None else self.norm_ratio / n}
        if self.step is not None:
            fired, turned, left = self.step
            row |= {"clip_step": float(fired), "cosine_step": turned, "norm_ratio_step": left}
        return row | {"tokens_per_second": round(n * tokens_per_step / self.seconds) if self.seconds else None}
