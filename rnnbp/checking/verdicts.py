"""The verdict on a subject: each tensor's hand-written gradient against the numeric one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import device

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.checking.methods.complexsteps import ImaginaryPartLost
from rnnbp.checking.methods.directions import DIRECTIONS, EXTENTS, every_entry, sampled
from rnnbp.checking.methods.numeric import MEMORY, Asked, NumericMethod
from rnnbp.checking.methods.registry import METHODS, numeric_method
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.checking.metric import Discrepancy
from rnnbp.checking.report import Check, Finding
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array, HostArray

Progress: TypeAlias = Callable[[str, int, int], None]  # subject, entries done, entries in all


@dataclass(frozen=True)
class Setting:
    """How subjects are checked: `extent` says whether entry by entry or along the directions that `seeds` draw."""

    backend: Backend
    dtype: str
    method: str
    truncation: str
    tolerance: float
    extent: str = "auto"
    seeds: tuple[int, ...] = tuple(range(DIRECTIONS))

    def check(self, subject: str, tensor: str, **found: Any) -> Check:
        """A check under this setting; without numbers, one that failed."""
        words: dict[str, Any] = {"backend": self.backend.name, "dtype": self.dtype, "method": self.method}
        words |= {"cell": subject, "tensor": tensor, "truncation": self.truncation, "tolerance": self.tolerance}
        return Check(**(words | {"error": nan, "norm_error": nan, "max_error": nan} | found))

    def directional(self, subject: Subject) -> bool:
        """Whether random directions stand for the entries of this subject."""
        if numeric_method(self.method).whole:
            return self.extent == "directional"
        return not every_entry(self.extent, sum(value.size for value in subject.tensors.values()))


def setting(
    backend: Backend | str | None,
    dtype: str,
    method: str,
    truncation: str,
    extent: str = "auto",
    directions: int = DIRECTIONS,
    seed: int = 0,
) -> Setting:
    """The setting that these words mean; a word that is not known is a UserError.

    Method "directional" is short for tangents along random directions: method "tangent", extent "directional".
    """
    check_extent(extent, directions, seed)
    if method == "directional":
        if extent == "exhaustive":
            raise UserError(
                "method directional checks no single entries but a few; got extent exhaustive: leave it out"
            )
        method, extent = "tangent", "directional"
    if method in METHODS and not METHODS[method].numeric and extent != "auto":
        raise UserError(f"method {method} has an extent of its own; got {extent}: leave it out")
    if method not in METHODS:
        raise unknown("method", method, [*METHODS, "directional"])
    limit = tolerance(method, dtype).value
    chosen = backend if isinstance(backend, Backend) else find_backend(backend)
    chosen.require_dtype(dtype)
    return Setting(chosen, dtype, method, truncation, limit, extent, tuple(range(seed, seed + directions)))


def check_extent(extent: str, directions: int, seed: int) -> None:
    """Whether these words go together; a UserError if not."""
    if extent not in EXTENTS:
        raise unknown("extent", extent, EXTENTS)
    check_counts(DIRECTIONS, directions=directions)
    check_counts(0, seed=seed)
    if extent == "exhaustive" and directions != DIRECTIONS:
        raise UserError(
            f"extent exhaustive takes every entry and no directions; got {directions}: leave one of them out"
        )


def check_counts(least: int = 1, **counts: int | None) -> None:
    """Sizes, where they are given, are integers of at least 1, of any integer type, that a computer could count."""
    for name, count in counts.items():
        if count is None:
            continue
        if not isinstance(count, Integral) or isinstance(count, bool) or count < least:
            raise UserError(f"{name} must be an integer of at least {least}; got {count!r}")
        if count > sys.maxsize:
            raise UserError(f"{name} must be at most {sys.maxsize}; got {count}")


def verify(subject: Subject, how: Setting, memory: int = MEMORY) -> list[Check]:
    """One check for each tensor of the subject: of every entry, or along directions where `how.directional`."""
    return verdict(subject, how, memory)[0]


def verdict(
    subject: Subject, how: Setting, memory: int = MEMORY, progress: Progress | None = None
) -> tuple[list[Check], tuple[Finding, ...]]:
    """The checks of `verify`, and what the method found beside the errors of tensors."""
    backend, point = how.backend, subject.tensors
    total, done = sum(value.size for value in point.values()), 0
    directional = how.directional(subject)

    def advance(entries: int) -> None:
        nonlocal done
        done += entries
        if progress is not None:
            progress(subject.name, done, total)

    def measure(method: NumericMethod, asked: Asked, name: str, gradient: HostArray) -> Discrepancy:
        blocks = subject.blocks.get(name, ())
        if not directional:
            return method.judged(asked, name, gradient, blocks)
        found = sampled(method, asked, name, gradient, how.seeds, how.tolerance, blocks)
        asked.advance(gradient.size)
        return found

    def judge(name: str, gradient: HostArray) -> tuple[Discrepancy, dict[str, Any]]:
        """The discrepancy, and what is to be said if another method had to take the place of the one asked for."""
        try:
            found = measure(method, asked, name, gradient)
            if found.error <= how.tolerance:
                return found, {}
            better = method.instead(asked, name)
        except ImaginaryPartLost:
            better = method.instead(asked, name)
            if better is None:
                raise
        if better is None:
            return found, {}
        other, why = better
        words = {"method": other.name, "note": why, "tolerance": tolerance(other.name, how.dtype).value}
        return measure(other, replace(asked, advance=lambda _: None), name, gradient), words

    def check(name: str) -> Check:
        gradient, tensor, shape = analytic.get(name), given[name], point[name].shape
        words: dict[str, Any] = {"level": subject.level, "path": subject.path, "padded": subject.padded}
        seeds = how.seeds if directional else how.seeds[: method.draws]
        words |= {"shape": shape, "directions": len(seeds), "seeds": seeds}
        fault = _misfit(gradient, tensor)
        if fault:
            advance(point[name].size)
            return how.check(subject.name, name, note=f"the gradient of {name} {fault}", **words)
        found, more = judge(name, np.asarray(backend.to_numpy(gradient), dtype=np.float64))
        words |= {"error": found.error, "norm_error": found.norm, "max_error": found.maximum, "blocks": found.blocks}
        if method.numeric:
            words |= {"analytic": found.analytic, "numeric": found.numeric, "elementwise": found.elementwise}
        return how.check(subject.name, name, index=found.index, **(words | more))

    given = {n: backend.asarray(v, how.dtype) for n, v in point.items()}
    analytic = subject.gradients(given)
    method = numeric_method(how.method)
    if why := method.unsuited(subject):
        raise UserError(why)
    asked = Asked(subject, backend, memory, advance, dtype=how.dtype, seed=how.seeds[0])
    checks = [check(name) for name in point]
    called = f"{subject.name}, {subject.path} path" if subject.path not in ("", Backend.path) else subject.name
    return checks, method.findings(replace(asked, subject=replace(subject, name=called)), how.tolerance)


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
