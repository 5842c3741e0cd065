"""The symmetry of the Hessian: a check of a hand-written backward that needs neither its forward nor a loss.

If a backward g is the gradient of anything, its derivative H = ∂g/∂θ is symmetric (Schwarz), so an asymmetric H tells
that g is wrong. H is taken through the backward by complex steps, every entry of it. That of a right backward is
symmetric to rounding.

**What it cannot see** is a g that is the gradient of something else: one that is zero everywhere, turned in sign or
scaled as a whole (1/T, 1/B, 2), blind to one of the cotangents, as where the error of the last step or of the last
state is not let in, or off by a constant. Every other fault of the self-test it finds. A truncated backward, and one
with cut gates, is the gradient of nothing, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import nan
from typing import Any, ClassVar

import numpy as np

from rnnbp.checking.methods.curvature import hessian
from rnnbp.checking.methods.numeric import Asked, Witness
from rnnbp.checking.metric import Discrepancy, compare
from rnnbp.checking.report import Finding, finite
from rnnbp.checking.subjects.subject import Subject
from rnnbp.numerics import HostArray


@dataclass(frozen=True)
class Symmetry(Finding):
    """How asymmetric each pair of tensors' part of the Hessian is: ‖H_ab − H_baᵀ‖ relative to the rows of a and b."""

    cell: str
    level: str
    entries: int
    pairs: Mapping[tuple[str, str], float]
    tolerance: float
    kind: ClassVar[str] = "hessian"

    @property
    def broken(self) -> dict[tuple[str, str], float]:
        """The pairs that are not symmetric, the worst one first."""
        found = {pair: error for pair, error in self.pairs.items() if not error <= self.tolerance}
        return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1], nan=np.inf)))

    @property
    def passed(self) -> bool:
        return not self.broken

    @property
    def suspects(self) -> tuple[str, ...]:
        """The tensors that are in every broken pair: the gradient of one of them does not fit the others."""
        pairs = [set(pair) for pair in self.broken]
        return tuple(sorted(set.intersection(*pairs))) if pairs else ()

    def __str__(self) -> str:
        head = f"{self.cell} ({self.level}): Hessian of the backward, {self.entries} × {self.entries}, is"
        if self.passed:
            return f"{head} symmetric to {max(self.pairs.values(), default=0.0):.1e}"
        worst = ", ".join(f"{a}–{b} {error:.1e}" for (a, b), error in list(self.broken.items())[:4])
        said = f"{head} NOT symmetric\n  {len(self.broken)} pairs of tensors, the worst {worst}"
        return said + (f"\n  in all of them: {' and '.join(self.suspects)}" if self.suspects else "")

    def to_json(self) -> dict[str, Any]:
        pairs = [{"pair": list(pair), "asymmetry": error} for pair, error in self.pairs.items()]
        whole = {
            "cell": self.cell,
            "level": self.level,
            "passed": self.passed,
            "entries": self.entries,
            "suspects": list(self.suspects),
        }
        found: dict[str, Any] = finite(whole | {"tolerance": self.tolerance, "pairs": pairs})
        return found


class Hessian(Witness):
    """The symmetry of the Hessian, taken through the backward."""

    name = "hessian"
    stops = False  # a backward that is cut is the gradient of nothing
    through_backward = True

    def unsuited(self, subject: Subject) -> str:
        cut = len(subject.windows) > 1 or any(window.decay != 1 for window in subject.windows)
        return "method hessian needs full BPTT: a truncated backward is the gradient of nothing" if cut else ""

    def judged(self, asked: Asked, tensor: str, analytic: HostArray, blocks: Sequence[str]) -> Discrepancy:
        """The rows of a tensor against its columns: how its entries change all gradients, and all entries its own."""
        del analytic
        whole, places = self._hessian(asked)
        shape = asked.subject.tensors[tensor].shape
        sides = (whole[places[tensor], :], whole[:, places[tensor]].T)  # (entries of the tensor, all)
        rows = (side.T.reshape(-1, *shape) for side in sides)
        found = compare(next(rows), next(rows), blocks)
        return Discrepancy(found.norm, found.maximum, found.index[1:], found.analytic, found.numeric, found.blocks)

    def findings(self, asked: Asked, tolerance: float) -> tuple[Finding, ...]:
        whole, places = self._hessian(asked)
        known = np.where(np.isfinite(whole), whole, 0.0)
        sizes = {n: float(np.linalg.norm(known[at, :]) + np.linalg.norm(known[:, at])) for n, at in places.items()}
        pairs: dict[tuple[str, str], float] = {}
        for a, b in combinations_with_replacement(places, 2):
            off = float(np.linalg.norm(whole[places[a], places[b]] - whole[places[b], places[a]].T))
            pairs[a, b] = off / (max(sizes[a], sizes[b]) or nan) if off else 0.0
        subject = asked.subject
        if not places:  # no gradient has the shape of its tensor
            return ()
        return (Symmetry(subject.name, subject.level, len(whole), pairs, tolerance),)

    def _hessian(self, asked: Asked) -> tuple[HostArray, dict[str, slice]]:
        if "hessian" not in asked.memo:
            asked.memo["hessian"] = hessian(asked)
        found: tuple[HostArray, dict[str, slice]] = asked.memo["hessian"]
        return found
