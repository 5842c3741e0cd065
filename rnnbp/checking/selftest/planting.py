"""What the faulty cells share: which faults are planted, and the small pieces of a backward that can be wrong.

Everywhere the right line comes first and the wrong one stands under it, behind the name of its fault. Nothing here
knows how faults are recognised.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, State
from rnnbp.checking.bugs import BUGS
from rnnbp.checking.selftest.loop import scan_with_faults
from rnnbp.errors import UserError, unknown
from rnnbp.initializers import glorot_uniform, normal
from rnnbp.numerics import Array, Namespace, chunks, sigmoid

# the places of the faults that a loop can have, whatever the cell
LOOP_PLACES: dict[str, tuple[str, ...]] = {
    "all-zero": ("all", "U"),
    "sign": ("all", "U"),
    "factor": ("1/T", "1/B", "2 of U"),
    "transposed": ("U", "W"),
    "missing-accumulation": ("all", "U"),
    "carry-dropped": ("h",),
    "initial-state-forgotten": ("h",),
    "last-state-forgotten": ("h",),
    "clipped": ("entries", "norm", "errors"),
}


class FaultyBackward(Protocol):
    """The backward of one step; `seen` is what dU takes for h_{t−1}, which a faulty loop gets wrong."""

    def __call__(self, ds1: State, seen: Array = ...) -> tuple[dict[str, Any], Any, Cotangents]:
        """The errors ds' taken back to dp, dx and ds."""


@dataclass(frozen=True)
class FaultyCell(Cell):
    """A cell written out by hand with its own loop over time, right unless `faults` plants something.

    faults: names of `checking.bugs.BUGS`, with a place where the cell has several for it: "sigma-prime-missing:f".
    """

    faults: tuple[str, ...] = ()

    gates: ClassVar[tuple[str, ...]] = ("h",)  # the order of their columns in W, U and b
    places: ClassVar[Mapping[str, tuple[str, ...]]] = LOOP_PLACES

    def __post_init__(self) -> None:
        super().__post_init__()
        known = candidates(type(self))
        for fault in self.faults:
            if fault not in known:
                raise unknown(f"fault of {type(self).__name__}", fault, known)
        if len(set(self.faults)) < len(self.faults):
            raise UserError(f"a fault is planted once; got {', '.join(self.faults)}")

    @property
    def params(self) -> dict[str, Param]:
        n_in, n, width = self.input_size, self.hidden_size, len(self.gates) * self.hidden_size
        matrix, vector = glorot_uniform(len(self.gates)), normal(0.5)
        return {"W": Param((n_in, width), matrix), "U": Param((n, width), matrix), "b": Param((width,), vector)}

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("W", "U", "b"), self.gates)

    def has(self, fault: str) -> bool:
        """Whether the fault is planted."""
        return fault in self.faults

    def zeroed(self, xp: Namespace, bug: str, ds: State) -> State:
        """The errors of the states, less those of which the fault BUG:state makes zero."""
        named = zip(self.states, ds, strict=True)
        return tuple(xp.zeros_like(d) if self.has(f"{bug}:{state}") else d for state, d in named)

    @abstractmethod
    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        """`Cell.step` with a backward that can be given another h for dU."""

    def scan(self, xp: Namespace, p: Params, xs: Array, s0: State, **options: Any) -> Any:
        return scan_with_faults(xp, self, p, xs, s0, **options)

    # ---- pieces of a step's backward -----------------------------------------------------------------------------
    def sigma_slope(self, xp: Namespace, gate: str, y: Array) -> Array:
        """σ'(a), written with y = σ(a)."""
        slope = y * (1 - y)
        if self.has(f"sigma-prime-of-activated:{gate}"):
            slope = sigmoid(xp, y) * (1 - sigmoid(xp, y))
        if self.has(f"sigma-prime-missing:{gate}"):
            slope = xp.ones_like(y)
        if self.has(f"sigma-prime-twice:{gate}"):
            slope = slope * y * (1 - y)
        return slope

    def tanh_slope(self, xp: Namespace, gate: str, y: Array) -> Array:
        """tanh'(a), written with y = tanh(a)."""
        slope = 1 - y * y
        if self.has(f"tanh-prime-of-activated:{gate}"):
            slope = 1 - xp.tanh(y) * xp.tanh(y)
        if self.has(f"tanh-prime-missing:{gate}"):
            slope = xp.ones_like(y)
        if self.has(f"tanh-prime-twice:{gate}"):
            slope = slope * (1 - y * y)
        return slope

    def join(self, xp: Namespace, errors: Sequence[Array]) -> Array:
        """The errors of the gates side by side, (..., B, GH)."""
        parts = list(xp.broadcast_arrays(*errors))
        for one, other in self._pairs("gates-swapped"):
            parts[one], parts[other] = parts[other], parts[one]
        return xp.concat(parts, axis=-1)

    def bias_gradient(self, xp: Namespace, da: Array) -> Array:
        """∂L/∂b: the errors summed over the batch."""
        parts = chunks(xp.sum(da, axis=-2), len(self.gates))
        for one, other in self._pairs("bias-swapped"):
            parts[one], parts[other] = parts[other], parts[one]
        for one, other in self._pairs("bias-copied"):
            parts[one] = parts[other]
        return xp.concat(parts, axis=-1)

    def back_to_h(self, xp: Namespace, da: Array, u: Array) -> Array:
        """The error of h U, taken back to h."""
        parts = chunks(da, len(self.gates))
        for k, gate in enumerate(self.gates):
            if self.has(f"path-missing:{gate} to h"):
                parts[k] = xp.zeros_like(parts[k])
        return xp.matmul(xp.concat(parts, axis=-1), xp.matrix_transpose(u))

    def _pairs(self, bug: str) -> list[tuple[int, int]]:
        """The gates, as column numbers, that a planted fault of this kind takes for each other."""
        found = [fault.partition(":")[2].split("-") for fault in self.faults if fault.startswith(f"{bug}:")]
        return [(self.gates.index(one), self.gates.index(other)) for one, other in found]


def candidates(family: type[FaultyCell]) -> list[str]:
    """Every catalogued bug at every place that the family has for it, or by its bare name where it has none.

    A bare name may mean nothing to the family (a peephole to a cell without): then planting it changes nothing, which
    `candidates.applies` finds out.
    """
    return [f"{bug}:{place}" if place else bug for bug in BUGS for place in (*family.places.get(bug, ()),) or ("",)]
