"""How far a truncated gradient is from the full one: what truncation throws away, per tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import nan
from typing import Any

import numpy as np

from rnnbp.checking.report import Finding, finite
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Setting
from rnnbp.errors import unknown
from rnnbp.numerics import HostArray

AGAINST = ("claim", "full")


@dataclass(frozen=True)
class Separation:
    """One tensor's truncated gradient g beside the full one f; NaN where f, or for the cosine g, is zero."""

    ratio: float  # ‖g‖ / ‖f‖
    cosine: float  # g·f / (‖g‖ ‖f‖)
    difference: float  # ‖g − f‖ / ‖f‖


@dataclass(frozen=True)
class Distance(Finding):
    """The truncated gradient beside the full one, both from the backward. It is information: it always passes.

    against: "claim", if the checks beside it hold the backward to the derivative that a truncated one claims; "full",
    if they hold it to the full derivative, which it does not claim.
    """

    kind = "truncation"

    cell: str
    truncation: str
    tensors: Mapping[str, Separation]
    against: str = "claim"

    @property
    def farthest(self) -> str | None:
        """The tensor that truncation changes most."""
        known = {name: s.difference for name, s in self.tensors.items() if s.difference == s.difference}
        return max(known, key=lambda name: known[name], default=None)

    @property
    def reason(self) -> str:
        """Why a check against the full derivative fails, or passes; empty where none was asked for."""
        far = self.farthest
        if self.against == "claim":
            return ""
        if far is None or self.tensors[far].difference == 0:
            return "held to the full derivative: this truncation cuts nothing, the two are the same"
        return (
            f"held to the full derivative, which a truncated backward does not claim:\n"
            f"{self._by} throws away errors that flow on in the full one; without them\n"
            f"the gradient of {far} is off by {self.tensors[far].difference:.0%}, that of the others by less"
        )

    @property
    def _by(self) -> str:
        return "what the cell stops itself" if self.truncation == "full" else self.truncation

    def __str__(self) -> str:
        width = max(6, *map(len, self.tensors))
        lines = [
            f"{self.cell}: the gradient under {self._by} (g) beside the full one (f)",
            f"{'tensor':<{width}}  ‖g‖/‖f‖  cosine  ‖g−f‖/‖f‖",
        ]
        for name, s in self.tensors.items():
            lines.append(f"{name:<{width}}  {s.ratio:>7.3f}  {s.cosine:>6.3f}  {s.difference:>9.3f}")
        return "\n".join([*lines, *self.reason.splitlines()])

    def to_json(self) -> dict[str, Any]:
        """Each tensor with ratio, cosine and difference; null where one has no meaning."""
        tensors = {name: asdict(s) for name, s in self.tensors.items()}
        words = {"cell": self.cell, "truncation": self.truncation, "against": self.against, "tensors": tensors}
        plain: dict[str, Any] = finite(words)
        return plain


def truncation_finding(truncated: Subject, whole: Subject, how: Setting, against: str = "claim") -> Distance:
    """The distance between the gradients of one subject under truncation and without, at the same tensors."""
    sides = [subject.claimed(how.backend, how.dtype) for subject in (truncated, whole)]
    found: dict[str, Separation] = {}
    for name, value in truncated.tensors.items():
        pair = [side.get(name) for side in sides]
        fitting = [d for d in pair if d is not None and d.shape == value.shape]
        if len(fitting) == 2:  # what does not fit fails as a check
            found[name] = separation(*fitting)
    return Distance(truncated.name, how.truncation, found, check_against(against))


def held_to(against: str, truncated: Subject, whole: Subject) -> Subject:
    """The truncated backward with what it is held to: "claim", or "full", the derivative without truncation.

    Held to the full derivative it fails wherever truncation cuts something.
    """
    return replace(whole, gradients=truncated.gradients) if check_against(against) == "full" else truncated


def check_against(against: str) -> str:
    """What a truncated backward may be held to."""
    if against not in AGAINST:
        raise unknown("against", against, AGAINST)
    return against


def separation(g: HostArray, f: HostArray) -> Separation:
    """Norm ratio, cosine and relative difference of two gradients."""
    scale = max(np.max(np.abs(g), initial=0.0), np.max(np.abs(f), initial=0.0)) or 1.0  # tiny squares vanish
    g, f = g / scale, f / scale
    of_g, of_f = float(np.linalg.norm(g)), float(np.linalg.norm(f))
    if not of_f:
        return Separation(nan, nan, nan)
    cosine = float(np.sum(g * f)) / (of_g * of_f) if of_g else nan
    return Separation(of_g / of_f, cosine, float(np.linalg.norm(g - f)) / of_f)
