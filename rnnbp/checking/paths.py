"""Which code the scan of a check runs through: the portable one, a backend's own fast one, or both in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rnnbp.backends import Backend
from rnnbp.checking.methods.autodiff import traced
from rnnbp.checking.methods.registry import numeric_method
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import Setting
from rnnbp.errors import UserError, unknown
from rnnbp.truncation import Truncation

PATHS = ("reference", "fast", "both")
PORTABLE = Backend.path


def portable(how: Setting) -> Setting:
    """The same setting by the portable scan."""
    return replace(how, backend=traced(how.backend))


def on_path(path: str, levels: Sequence[str] | None, how: Setting) -> Setting:
    """The setting for a path, one of `PATHS`, that is wanted of these levels."""
    if path not in PATHS:
        raise unknown("path", path, PATHS)
    if path != "both" and levels is not None and "sequence" not in levels:
        raise UserError(f"path is of level sequence; got path {path} and levels {', '.join(levels)}: leave one out")
    return portable(how) if path == "reference" else how


def ways(path: str, problem: Problem, how: Setting) -> dict[str, Setting]:
    """The paths to be checked, as `Backend.path` names them, each with the setting that takes it.

    Where there is no fast one, "both" is what the backend runs in its place, and "fast" a UserError.
    """
    why = no_fast_path(problem, how)
    if path == "fast" and why:
        raise UserError(f"path fast is not there: {why}; use path reference")
    fast = {PORTABLE if why else how.backend.path: how}
    return fast if why or path == "fast" else {PORTABLE: portable(how)} | fast


def no_fast_path(problem: Problem, how: Setting) -> str:
    """Why a problem is checked through the portable scan alone; empty if the backend has a fast one that takes it."""
    backend = how.backend
    if backend.path == PORTABLE:
        return f"backend {backend.name} scans by the portable path alone"
    if numeric_method(how.method).through_backward:
        return f"method {how.method} takes the backward through complex numbers, as fast paths do not"
    if not backend.decays and Truncation.parse(how.truncation).decay != 1:
        return f"the {backend.path} scan of backend {backend.name} leaves a decay to the portable one"
    params = {n: backend.asarray(v, how.dtype) for n, v in problem.params.items()}
    xs, s0 = backend.asarray(problem.xs, how.dtype), tuple(backend.asarray(z, how.dtype) for z in problem.s0)
    rest: dict[str, Any] = {"data": {n: backend.asarray(d, how.dtype) for n, d in problem.data.items()}}
    rest |= {"mask": None if problem.mask is None else backend.asarray(problem.mask), "resets": None}
    rest |= {"reverse": False, "record": False, "keep": True}
    taken = backend.scan(problem.cell, params, xs, s0, **rest) is not NotImplemented
    return "" if taken else f"the {backend.path} scan of backend {backend.name} leaves this cell to the portable one"
