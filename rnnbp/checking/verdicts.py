"""The verdict on a subject: each tensor's hand-written gradient against the numeric one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any, TypeAlias

from array_api_compat import device

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.checking.arithmetic import plain
from rnnbp.checking.differences import MEMORY, copies_within, differentiate
from rnnbp.checking.metric import compare
from rnnbp.checking.report import Check
from rnnbp.checking.subjects import Subject
from rnnbp.checking.tolerances import tolerance
from rnnbp.errors import UserError
from rnnbp.numerics import Array

Progress: TypeAlias = Callable[[str, int, int], None]  # subject, entries done, entries in all


@dataclass(frozen=True)
class Setting:
    """How subjects are checked."""

    backend: Backend
    dtype: str
    method: str
    truncation: str
    tolerance: float

    def check(self, subject: str, tensor: str, **found: Any) -> Check:
        """A check under this setting; without numbers, one that failed."""
        words: dict[str, Any] = {"backend": self.backend.name, "dtype": self.dtype, "method": self.method}
        words |= {"cell": subject, "tensor": tensor, "truncation": self.truncation, "tolerance": self.tolerance}
        return Check(**(words | {"error": nan, "norm_error": nan, "max_error": nan} | found))


def setting(backend: Backend | str | None, dtype: str, method: str, truncation: str) -> Setting:
    """The setting that these words mean; a word that is not known is a UserError."""
    limit = tolerance(method, dtype).value
    chosen = backend if isinstance(backend, Backend) else find_backend(backend)
    chosen.require_dtype(dtype)
    return Setting(chosen, dtype, method, truncation, limit)


def check_counts(least: int = 1, **counts: int | None) -> None:
    """Sizes are integers of at least 1, where they are given."""
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < least):
            raise UserError(f"{name} must be an integer of at least {least}; got {count!r}")


def verify(subject: Subject, how: Setting, memory: int = MEMORY, progress: Progress | None = None) -> list[Check]:
    """One check for each tensor of the subject."""
    backend, point = how.backend, subject.tensors
    words = {"level": subject.level, "padded": subject.padded}
    copies = copies_within(memory, point, subject.work)
    total, done = sum(value.size for value in point.values()), 0

    def advance(entries: int) -> None:
        nonlocal done
        done += entries
        if progress is not None:
            progress(subject.name, done, total)

    def check(name: str) -> Check:
        gradient, tensor, shape = analytic.get(name), given[name], point[name].shape
        fault = _misfit(gradient, tensor)
        if fault:
            advance(point[name].size)
            note = f"the gradient of {name} {fault}"
            return how.check(subject.name, name, shape=shape, note=note, **words)
        numeric = differentiate(how.method, loss, point, name, backend, copies=copies, advance=advance)
        found = compare(backend.to_numpy(gradient), numeric, subject.blocks.get(name, ()))
        measured = {"error": found.error, "norm_error": found.norm, "max_error": found.maximum, "blocks": found.blocks}
        entry = {"analytic": found.analytic, "numeric": found.numeric, "elementwise": found.elementwise}
        where = {"shape": shape, "index": found.index}
        return how.check(subject.name, name, **where, **words, **measured, **entry)

    given = {n: backend.asarray(v, how.dtype) for n, v in point.items()}
    analytic = subject.gradients(given)
    loss = subject.loss(plain(backend))
    return [check(name) for name in point]


def _misfit(gradient: Array | None, tensor: Array) -> str:
    """What makes an array no gradient of a tensor, in words; empty if it fits."""
    if gradient is None:
        return "is missing"
    for what, got, want in (
        ("has shape", tuple(gradient.shape), tuple(tensor.shape)),
        ("is", gradient.dtype, tensor.dtype),
        ("is on", device(gradient), device(tensor)),
    ):
        if got != want:
            return f"{what} {got}, the tensor {want}"
    return ""
