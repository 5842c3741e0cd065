"""Numeric derivatives of a scalar function of named tensors, every entry by itself.

The perturbed tensor gets a leading axis of copies, one per entry; the function returns one number per copy. Entries
are taken in chunks of one fixed size, so that a library that compiles for each shape does so once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from rnnbp.backends import Backend
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array, HostArray

Loss: TypeAlias = Callable[[Mapping[str, Array]], Array]  # named tensors -> one number per copy
Probe: TypeAlias = Callable[[HostArray, str], Array]  # one tensor's copies and their dtype -> one number per copy
Method: TypeAlias = Callable[[Backend, Probe, HostArray, HostArray], HostArray]

COMPLEX_STEP = 1e-30  # no subtraction, so it may be as small as one likes: its square vanishes beside 1
CENTRAL_STEP = 1e-5  # where truncation, step², meets rounding, eps / step
MEMORY = 64 * 2**20  # bytes
MOST_COPIES = 256  # beyond, copies × batch rows leave the cache and each copy gets slower


def complex_step(backend: Backend, probe: Probe, value: HostArray, units: HostArray) -> HostArray:
    """Im L(v + ih e) / h for every unit tensor e: exact to rounding (Squire & Trapp 1998)."""
    loss = probe(value + 1j * COMPLEX_STEP * units, "complex128")
    if not backend.xp.isdtype(loss.dtype, "complex floating"):
        raise UserError(
            f"a complex step needs a forward that stays complex; the loss came back {loss.dtype}: something on the way "
            "(abs, a norm, a float buffer) drops the imaginary part: rewrite it, or use method central"
        )
    slope: HostArray = backend.to_numpy(backend.xp.imag(loss)) / COMPLEX_STEP
    return slope


def central(backend: Backend, probe: Probe, value: HostArray, units: HostArray) -> HostArray:
    """(L(v + εe) − L(v − εe)) / 2ε for every unit tensor e, 2ε being the width that rounding made of it."""
    up, down = value + CENTRAL_STEP * units, value - CENTRAL_STEP * units
    width = np.sum(up - down, axis=tuple(range(1, units.ndim)))
    rise = backend.to_numpy(probe(up, "float64")) - backend.to_numpy(probe(down, "float64"))
    slope: HostArray = rise / width
    return slope


METHODS: dict[str, Method] = {"complex-step": complex_step, "central": central}


def differentiate(
    method: str,
    loss: Loss,
    point: Mapping[str, HostArray],
    name: str,
    backend: Backend,
    *,
    copies: int,
    advance: Callable[[int], None] = lambda _: None,
) -> HostArray:
    """∂loss/∂point[name] in float64, entry by entry, `copies` at a time; `advance` hears how many are done."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    fixed = {other: backend.asarray(v, "float64") for other, v in point.items() if other != name}
    value = point[name]

    def probe(perturbed: HostArray, dtype: str) -> Array:
        out = loss({**fixed, name: backend.asarray(perturbed, dtype)})
        if tuple(out.shape) != perturbed.shape[:1]:
            raise UserError(
                f"the loss must be one number per copy, {perturbed.shape[:1]}; got shape {tuple(out.shape)}"
            )
        return out

    found: list[HostArray] = []
    for first in range(0, value.size, copies):
        entries = np.minimum(np.arange(first, first + copies), value.size - 1)  # the last chunk repeats its last entry
        units = np.zeros((copies, value.size))
        units[np.arange(copies), entries] = 1.0
        slopes = METHODS[method](backend, probe, value, units.reshape(copies, *value.shape))
        found.append(slopes[: value.size - first])
        advance(len(found[-1]))
    return np.concatenate(found).reshape(value.shape)


def copies_within(memory: int, point: Mapping[str, HostArray], work: int) -> int:
    """How many copies fit: each holds its unit tensor, its complex perturbation on both sides, and `work` numbers."""
    largest = max(value.size for value in point.values())
    each = 16 * (3 * largest + work)
    return max(1, min(memory // each, largest, MOST_COPIES))
