"""What a check of foreign code adds to the table of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rnnbp.checking.report import Finding, finite


@dataclass(frozen=True)
class Remark(Finding):
    """What the reader should know: seeds, a method that was changed and why, what was not checked."""

    text: str
    kind: ClassVar[str] = "remark"

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text}


@dataclass(frozen=True)
class Named(Finding):
    """A fault of one tensor's gradient that has a name."""

    tensor: str
    bug: str  # a key of `rnnbp.checking.bugs.BUGS`
    text: str
    kind: ClassVar[str] = "cause"

    @property
    def passed(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"{self.tensor}: {self.bug}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        return {"tensor": self.tensor, "bug": self.bug, "text": self.text}


@dataclass(frozen=True)
class ByTime(Finding):
    """The error of each tensor's gradient for a cotangent at one output step alone."""

    tensors: tuple[str, ...]
    tolerances: tuple[float, ...]
    errors: tuple[tuple[float, ...], ...]  # (T, tensors)
    kind: ClassVar[str] = "by_time"

    @property
    def passed(self) -> bool:
        return all(e <= tol for row in self.errors for e, tol in zip(row, self.tolerances, strict=True))

    def __str__(self) -> str:
        width = max(9, *map(len, self.tensors))
        head = "  ".join(["error where the cotangent is at t alone", *(n.rjust(width) for n in self.tensors)])
        label = len("error where the cotangent is at t alone")
        rows = [
            "  ".join([f"t = {t}".rjust(label), *(self._cell(e, k).rjust(width) for k, e in enumerate(row))])
            for t, row in enumerate(self.errors)
        ]
        return "\n".join([head, *rows])

    def _cell(self, error: float, tensor: int) -> str:
        return f"{error:.1e}" + ("" if error <= self.tolerances[tensor] else "!")

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = finite(
            {"tensors": self.tensors, "tolerances": self.tolerances, "errors": self.errors, "passed": self.passed}
        )
        return found
