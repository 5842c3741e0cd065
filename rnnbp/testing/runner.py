"""`check_cell` and `parametrize_with_checks`: the checks, run one after the other or one test each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.cellbase import Cell
from rnnbp.checking.cells import SIZES, named
from rnnbp.errors import UserError, described, unknown
from rnnbp.testing.cases import LeftOut
from rnnbp.testing.catalogue import CHECKS

# a cell, NAME[:option=value,…], or what makes a cell of an input and a hidden size
Subject: TypeAlias = Cell | str | Callable[[int, int], Cell]


@dataclass(frozen=True)
class Conformance:
    """What `check_cell` checked of a cell that passed."""

    cell: str
    backend: str
    passed: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()  # name and reason

    def __str__(self) -> str:
        lines = [f"{self.cell} on backend {self.backend}: {len(self.passed)} checks passed"]
        return "\n".join(lines + [f"left out: {name}: {reason}" for name, reason in self.left_out])


@dataclass(frozen=True)
class CellCheck:
    """One check by name: `check(cell)` raises AssertionError where it fails, unittest.SkipTest where it is left out."""

    name: str
    backend: Backend | str | None = None

    def __call__(self, cell: Subject, backend: Backend | str | None = None) -> None:
        """Check a cell, on the backend that is given here, else on the check's own, else on the default one."""
        title, made = subject(cell)
        chosen = _backend(self.backend if backend is None else backend)
        try:
            fault = CHECKS[self.name](made, chosen)
        except LeftOut:
            raise
        except Exception as error:  # whatever a cell raises is the cell's fault
            raise AssertionError(self._said(title, chosen, described(error))) from error
        if fault:
            raise AssertionError(self._said(title, chosen, fault))

    def _said(self, title: str, backend: Backend, fault: str) -> str:
        return f"{title} on backend {backend.name} fails\n{failure(self.name, fault)}"

    def __str__(self) -> str:
        return self.name


def check_cell(
    cell: Subject, *, backend: Backend | str | None = None, checks: Iterable[str] | None = None
) -> Conformance:
    """Run every check over a cell; an AssertionError says which failed, what was found and what is wanted.

    cell: a cell, NAME[:option=value,…], or what makes a cell of an input and a hidden size: a class, a function.
    backend: on which to check (default: $RNNBP_BACKEND, else numpy). Three checks run on array-api-strict in any case,
    and are left out where it is not installed: `left_out` of the result says so.
    checks: names of `CHECKS`; default: all.
    """
    title, made = subject(cell)
    chosen, names = _backend(backend), _known(checks)
    passed: list[str] = []
    left_out: list[tuple[str, str]] = []
    failed: list[str] = []
    cause: Exception | None = None
    for name in names:
        try:
            fault = CHECKS[name](made, chosen)
        except LeftOut as reason:
            left_out.append((name, str(reason)))
            continue
        except Exception as error:  # whatever a cell raises is the cell's fault
            fault, cause = described(error), cause or error
        if fault:
            failed.append(failure(name, fault))
        else:
            passed.append(name)
    if failed:
        count = f"{len(failed)} of {len(names)} checks"
        raise AssertionError("\n".join([f"{title} on backend {chosen.name} fails {count}", *failed])) from cause
    return Conformance(title, chosen.name, tuple(passed), tuple(left_out))


def parametrize_with_checks(
    cells: Iterable[Subject], *, backend: Backend | str | None = None, checks: Iterable[str] | None = None
) -> Callable[[Any], Any]:
    """A decorator for a test with the arguments `cell` and `check`: one test for each cell and each check.

    The test calls check(cell), or check(cell, backend) with a backend of its own.
    """
    import pytest  # only here: `check_cell` needs none

    made = [subject(cell) for cell in cells]
    bound = [CellCheck(name, backend) for name in _known(checks)]
    pairs = [pytest.param(cell, check, id=f"{title}-{check}") for title, cell in made for check in bound]
    return pytest.mark.parametrize(("cell", "check"), pairs)


def subject(cell: Subject) -> tuple[str, Cell]:
    """The name and the cell; what is none and makes none is a UserError."""
    if isinstance(cell, (Cell, str)):
        return named(cell, input_size=None, hidden_size=None)
    made = cell(*SIZES.values()) if callable(cell) else cell
    if not isinstance(made, Cell):
        wanted = "a cell, NAME[:option=value,…] or what makes a cell of an input and a hidden size"
        raise UserError(f"the conformance suite takes {wanted}; got {cell!r}")
    return named(made, input_size=None, hidden_size=None)


def failure(name: str, fault: str) -> str:
    """A failed check: its name, what it wants, and what was found."""
    wants = " ".join((CHECKS[name].__doc__ or "").split())
    return "\n".join([f"  {name}: {wants}", *(f"    {line}" for line in fault.splitlines())])


def _known(checks: Iterable[str] | None) -> list[str]:
    """The names of the checks; one that there is not is a UserError."""
    names = list(CHECKS) if checks is None else list(checks)
    for name in names:
        if name not in CHECKS:
            raise unknown("check", name, CHECKS)
    return names


def _backend(backend: Backend | str | None) -> Backend:
    return backend if isinstance(backend, Backend) else find_backend(backend)
