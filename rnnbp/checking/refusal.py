"""Gradients that were clipped or normalised are refused with the reason: both hide whatever else is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnbp.checking.foreign.causes import LIMITS, ROUND, clipped
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import numeric_method
from rnnbp.checking.report import Check
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import HostArray


def unclipped(subject: Subject, how: Setting, checks: Sequence[Check], memory: int) -> list[Check]:
    """The checks, with a note at those that failed because their gradients were clipped or normalised.

    What is clipped entry by entry, or scaled to a norm, is recognised. A limit on errors inside the backward is not,
    nor one on each of several windows; but then the backward is not linear (`checking.properties`).
    """
    failed = {check.tensor: check.method for check in checks if not check.passed and not check.misfit}
    if not failed or how.directional(subject) or not numeric_method(how.method).numeric:
        return list(checks)
    claimed = subject.claimed(how.backend, how.dtype)
    analytic = {n: claimed[n] for n in failed}
    if not _suspicious(list(analytic.values())):
        return list(checks)
    asked = Asked(subject, how.backend, memory)
    seen = clipped(analytic, {n: numeric_method(method).known_entries(asked, n) for n, method in failed.items()})
    if not seen:
        return list(checks)
    said = f"the gradient was clipped or normalised ({seen}): check it before clipping"
    return [replace(c, note="; ".join(filter(None, [said, c.note]))) if c.tensor in failed else c for c in checks]


def _suspicious(gradients: Sequence[HostArray]) -> bool:
    """Whether several entries share the largest size, or a norm is round: seen without a numeric gradient."""
    whole = np.concatenate([g.ravel() for g in gradients])
    norms = [float(np.linalg.norm(g)) for g in (whole, *gradients)]
    sizes = np.abs(whole)
    return np.sum(sizes == np.max(sizes)) > 1 or any(abs(norm - c) <= ROUND * c for norm in norms for c in LIMITS)
