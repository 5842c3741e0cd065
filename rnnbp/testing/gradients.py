"""Gradients, by `rnnbp.gradcheck` in several settings: the backward of the fast path, the forward of the plain loop."""

from __future__ import annotations

from typing import Any

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.cells import check_gradients
from rnnbp.checking.operands.space import NoRule
from rnnbp.testing.cases import LeftOut


def _said(cell: Cell, full: bool = False, **options: Any) -> str:
    """The report of a check that failed: the diagnosis and the worst entry, or all of it with the table of tensors."""
    report = check_gradients(cell, properties=False, **options)  # the properties are checks of their own
    diagnosis = [str(finding) for finding in report.findings if finding.kind == "diagnosis"]
    short = "\n".join([report.title, *diagnosis, *report.notes, report.summary])
    return "" if report.passed else str(report) if full else short


def complex_step(cell: Cell, backend: Backend) -> str:
    """Every gradient is the derivative of the forward, by complex steps: exact to rounding."""
    return _said(cell, full=True, backend=backend)


def tangent(cell: Cell, backend: Backend) -> str:
    """The same by tangents, with the rules of calculus for each operation of the forward: no complex numbers."""
    try:
        return _said(cell, backend=backend, method="tangent")
    except NoRule as error:
        raise LeftOut(str(error)) from None


def unmasked(cell: Cell, backend: Backend) -> str:
    """The same where all sequences are of one length, so that a scan that takes no mask is checked too."""
    return _said(cell, backend=backend, padded=False, seed=1)


def float32(cell: Cell, backend: Backend) -> str:
    """A float32 backward is right to 1e-5, against a double precision reference at the same numbers."""
    return _said(cell, backend=backend, dtype="float32")


def each_cotangent(cell: Cell, backend: Backend) -> str:
    """The same with errors at the last output alone, and at the last states alone."""
    return _said(cell, backend=backend, cotangents="every")


def one_step(cell: Cell, backend: Backend) -> str:
    """T = 1: nothing to carry, the first step is the last."""
    return _said(cell, backend=backend, time_steps=1)


def one_sequence(cell: Cell, backend: Backend) -> str:
    """B = 1: no axis is squeezed away."""
    return _said(cell, backend=backend, batch=1, padded=False)


def truncated(cell: Cell, backend: Backend) -> str:
    """Windows of truncated BPTT: errors flow back to where they claim to, and no further."""
    reports = (_said(cell, backend=backend, truncation=f"tbptt:{k1},{k2}") for k1, k2 in ((1, 2), (2, 4)))
    return next(filter(None, reports), "")
