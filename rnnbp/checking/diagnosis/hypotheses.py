"""What a hypothesis is, and how well it explains a wrong gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from rnnbp.checking.diagnosis.tape import Change
from rnnbp.checking.diagnosis.unrolled import Gradients, Unrolled
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window


@dataclass(frozen=True)
class Hypothesis:
    """A fault, where it would be, and the gradients that a backward with it returns."""

    bug: str  # a name in `bugs.BUGS`
    detail: str
    level: str  # "step", "loop", or "" for a fault that may be in either
    predict: Callable[[], Mapping[str, HostArray]]  # the tensors that it may change; the others stay right


@dataclass(frozen=True)
class Suspects:
    """What hypotheses are made from: the forward on a tape, its windows, the right gradients and the wrong ones."""

    unrolled: Unrolled
    windows: Sequence[Window]
    right: Gradients
    wrong: Gradients

    @property
    def state_names(self) -> dict[str, str]:
        """State -> the name of its initial value among the tensors."""
        return dict(zip(self.unrolled.problem.cell.states, self.unrolled.names[1:], strict=True))

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """The gates of each parameter that is compared."""
        return {name: gates for name, gates in self.unrolled.blocks.items() if name in self.wrong}

    def swept(
        self, bug: str, detail: str, level: str, change: Change | None, without: Sequence[str] = ()
    ) -> Hypothesis:
        """A fault whose gradients are those of the tape with one change, or without the errors of some last states."""
        return Hypothesis(bug, detail, level, partial(self.unrolled.gradients, self.windows, change, without))


Family: TypeAlias = Callable[[Suspects], Iterator[Hypothesis]]


def explained(predicted: Mapping[str, HostArray], suspects: Suspects) -> float:
    """1 − ‖wrong − predicted‖² / ‖wrong − right‖², each tensor in units of its own size: 1 is all of the residual."""
    left, whole = 0.0, 0.0
    for name, wrong in suspects.wrong.items():
        right = suspects.right[name]
        scale = max(float(np.linalg.norm(right)), float(np.linalg.norm(wrong))) or 1.0
        whole += float(np.sum(((wrong - right) / scale) ** 2))
        left += float(np.sum(((wrong - predicted.get(name, right)) / scale) ** 2))
    return 1 - left / whole if whole else 0.0
