"""Dtypes, devices and complex numbers: which arrays a cell makes of those that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from array_api_compat import device

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.cellbase import Cell
from rnnbp.checking.cells import check_gradients
from rnnbp.errors import UserError
from rnnbp.numerics import Array
from rnnbp.testing.cases import Case, LeftOut, case, difference, mask, resets


def dtype_carried(cell: Cell, backend: Backend) -> str:
    """Given float32, every output, state and gradient is float32: make arrays with the dtype of another."""
    q = case(cell, backend, "float32")
    found = q.results() | {f"{n}, masked and reset": a for n, a in _interrupted(q).items()}
    wrong = [f"{name} is {a.dtype}" for name, a in found.items() if a.dtype != backend.xp.float32]
    return f"given float32, {wrong[0]}" if wrong else ""


def device_carried(cell: Cell, backend: Backend) -> str:
    """No array is made on another device than the arguments': make them with zeros_like, or device=device(x).

    On the second device of array-api-strict, where arrays of two devices do not mix.
    """
    del backend
    q = case(cell, _strict("device1"))
    there = device(q.xs)
    found = q.results() | {f"{n}, masked and reset": a for n, a in _interrupted(q).items()}
    wrong = [f"{name} is on {device(a)}" for name, a in found.items() if device(a) != there]
    return f"given arrays on {there}, {wrong[0]}" if wrong else ""


def standard_functions(cell: Cell, backend: Backend) -> str:
    """Forward and backward use only what is in the array API standard: array-api-strict has nothing else."""
    del backend
    q = case(cell, _strict())
    return difference(q.on_host(), case(cell, find_backend("numpy")).on_host(), "on array-api-strict")


def complex_safe(cell: Cell, backend: Backend) -> str:
    """Given complex numbers, forward and backward stay complex; without imaginary parts they equal the real ones.

    Write sigmoid as rnnbp.sigmoid, branch on the real part, transpose without conjugate; no abs, norm or float buffer.
    On array-api-strict, which casts nothing in silence.
    """
    fault = _complex_fault(cell)
    if not fault or not check_gradients(cell, backend=backend, properties=False, lags=False, diagnosis=False).passed:
        return fault
    said = "that a cell takes complex numbers is a rule of rnnbp, for checks that differentiate through its backward"
    return f"{fault}\nthe gradients themselves are right: {said}"


def _complex_fault(cell: Cell) -> str:
    q = case(cell, _strict())
    found = _complex(q).on_host()
    if real := [name for name, a in found.items() if not np.iscomplexobj(a)]:
        return f"with complex arguments and cotangents {real[0]} is {found[real[0]].dtype}"
    if turned := [name for name, a in found.items() if np.any(np.imag(a))]:
        return f"{turned[0]} has an imaginary part where no argument has one"
    return difference({name: np.real(a) for name, a in found.items()}, q.on_host(), "of complex numbers")


def _strict(device: str | None = None) -> Backend:
    """array-api-strict, if it is installed."""
    try:
        return find_backend("strict", device)
    except UserError as error:
        raise LeftOut(str(error)) from None


def _interrupted(q: Case) -> Mapping[str, Array]:
    return q.results(mask=mask(q.backend), resets=resets(q.backend))


def _complex(q: Case) -> Case:
    """The case with its arguments and cotangents as complex numbers."""

    def turn(a: Array) -> Array:
        return q.backend.xp.astype(a, q.backend.xp.complex128)

    return replace(
        q,
        params={name: turn(value) for name, value in q.params.items()},
        xs=turn(q.xs),
        s0=tuple(map(turn, q.s0)),
        dys=turn(q.dys),
        ds_T=tuple(map(turn, q.ds_T)),
    )
