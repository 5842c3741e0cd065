"""What a comparison of backends found: readable in a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np

from rnnbp.checking.drawing.tables import aligned
from rnnbp.checking.methods.tolerances import DTYPES, Tolerance
from rnnbp.errors import unknown

HEAD = ("cell", "dtype", "backend", "worst", "error", "tolerance", "verdict")
ROUNDINGS = 80


def tolerance(dtype: str) -> Tolerance:
    """How far two right backends may be apart: 80 eps of the dtype, 1.8e-14 or 9.5e-6."""
    if dtype not in DTYPES:
        raise unknown("dtype of parity", dtype, DTYPES)
    eps = float(np.finfo(dtype).eps)
    reason = f"{ROUNDINGS} eps of {dtype}: libraries that add up in different orders are 37 eps apart at most "
    return Tolerance(ROUNDINGS * eps, reason + "(1000 seeds of every built-in cell, NumPy and torch, both dtypes)")


@dataclass(frozen=True)
class Agreement:
    """One tensor of one cell on one backend, beside the reference's; the error is that of `checking.metric`, for a
    single number in units of the size that it usually has (`quantities.sizes`).
    """

    cell: str
    dtype: str
    backend: str
    tensor: str
    tolerance: float
    error: float = nan  # the larger of the next two; NaN where something is not finite or cannot be compared
    norm_error: float = nan  # ‖a−n‖ / (‖a‖+‖n‖)
    max_error: float = nan  # max|a−n| / max(|a|,|n|)∞
    shape: tuple[int, ...] = ()
    index: tuple[int, ...] = ()  # the worst entry
    value: float | None = None  # its value on the backend
    reference: float | None = None  # and on the reference
    note: str = ""  # what is wrong beyond numbers: a shape, a dtype, a cell that does not run

    @property
    def passed(self) -> bool:
        """Within tolerance; NaN is not."""
        return self.error <= self.tolerance

    @property
    def badness(self) -> float:
        """The error in units of its tolerance, infinite for NaN."""
        return inf if isnan(self.error) else self.error / self.tolerance

    def __str__(self) -> str:
        entry = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        said = f"{self.tensor}{entry} of {self.cell} in {self.dtype} on {self.backend}"
        if self.note:
            return f"{said}: {self.note}"
        said += f": error {self.error:.2e}, tolerance {self.tolerance:.1e}"
        return f"{said}; {self.value!r} here, {self.reference!r} on the reference"

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers that JSON does not have become null."""
        flat = asdict(self) | {"passed": self.passed, "shape": list(self.shape), "index": list(self.index)}
        return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in flat.items()}


@dataclass(frozen=True)
class ParityReport:
    """All that was compared in one call; the first of `backends` is the reference."""

    checks: tuple[Agreement, ...]
    backends: tuple[tuple[str, str], ...]  # name and version of each
    seed: int
    tolerances: tuple[tuple[str, Tolerance], ...]  # by dtype

    @property
    def reference(self) -> str:
        """The backend that the others are compared with."""
        return self.backends[0][0]

    @property
    def passed(self) -> bool:
        """Every tensor agrees, and there was one."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Agreement, ...]:
        """The tensors that do not agree."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def worst(self) -> Agreement | None:
        """The tensor with the largest error in units of its tolerance."""
        return max(self.checks, key=lambda check: check.badness, default=None)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The texts for `HEAD`: one row for each cell, dtype and backend, with its worst tensor."""
        groups: dict[tuple[str, str, str], list[Agreement]] = {}
        for check in self.checks:
            groups.setdefault((check.cell, check.dtype, check.backend), []).append(check)
        return [(*who, *_verdict(checks)) for who, checks in groups.items()]

    @property
    def title(self) -> str:
        """What was compared with what, in one line."""
        first, *others = (f"{name} {version}".strip() for name, version in self.backends)
        return f"parity: {', '.join(others)} against {first}, seed {self.seed}"

    @property
    def summary(self) -> str:
        """The verdict, and the worst entry by name."""
        good, of = len(self.checks) - len(self.failures), len(self.checks)
        verdict = f"{'passed' if self.passed else 'FAILED'}: {good} of {of} tensors agree with {self.reference}"
        return f"{verdict}\nworst: {self.worst}" if self.checks else verdict

    @property
    def notes(self) -> tuple[str, ...]:
        """What failed beyond numbers."""
        return tuple(dict.fromkeys(str(check) for check in self.checks if check.note))

    def __str__(self) -> str:
        lines = aligned([HEAD, *self.rows])
        return "\n".join([self.title, *lines, *self.notes, self.summary])

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes: passed, reference, backends, seed, tolerances, worst, checks."""
        return {
            "passed": self.passed,
            "reference": self.reference,
            "backends": dict(self.backends),
            "seed": self.seed,
            "tolerances": {dtype: limit._asdict() for dtype, limit in self.tolerances},
            "worst": self.worst.to_json() if self.worst else None,
            "checks": [check.to_json() for check in self.checks],
        }


def _verdict(checks: list[Agreement]) -> tuple[str, ...]:
    """The worst tensor, its error and tolerance, and whether all of them pass."""
    worst = max(checks, key=lambda check: check.badness)
    verdict = "pass" if all(check.passed for check in checks) else "FAIL"
    return (worst.tensor, f"{worst.error:.1e}", f"{worst.tolerance:.1e}", verdict)
