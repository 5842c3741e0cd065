"""The two contracts for cells: `Cell`, anything that steps, and `PointwiseCell`, affine and then pointwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from rnnbp.errors import UserError
from rnnbp.initializers import Initializer
from rnnbp.numerics import Array, HostArray, Namespace, zeros

Params: TypeAlias = Mapping[str, Array]
"""Parameters: name -> (..., *shape)."""
State: TypeAlias = tuple[Array, ...]
"""One array (..., B, *shape) for each state of a cell; the first is the output."""
Data: TypeAlias = Mapping[str, Array]
"""What a step gets besides x: name -> (..., B, *shape)."""
Cotangents: TypeAlias = tuple[Any, ...]
"""One error for each state, or for each gate; None stands for zero."""
StartBackward: TypeAlias = Callable[[State], dict[str, Array]]  # ds -> dp
StepBackward: TypeAlias = Callable[[State], tuple[dict[str, Any], Any, Cotangents]]
"""The backward of `Cell.step`: the errors of the new states -> dp by name, dx, and the errors of the old states."""


class Param(NamedTuple):
    """A parameter: its shape, and how it is drawn on the host (so the same numbers reach every backend)."""

    shape: tuple[int, ...]
    init: Initializer


def check_size(name: str, size: Any) -> None:
    """A size is a whole number of at least 1, of any integer type."""
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise UserError(f"{name} must be an integer of at least 1; got {size!r}")


def joined(names: Any) -> tuple[str, ...]:
    """Names as a spec has them, a word name+name, or already in a tuple."""
    return tuple(filter(None, names.split("+"))) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True)
class Cell(ABC):
    """Anything that can step. A plugin of this kind writes `params` and `step`; `params`, `states`, `data` are
    properties where they depend on options, class attributes where they do not.
    """

    input_size: int
    hidden_size: int

    api: ClassVar[int] = 1  # the version of this contract; a plugin written for another one is refused at load

    def __post_init__(self) -> None:
        check_size("input_size", self.input_size)
        check_size("hidden_size", self.hidden_size)

    @property
    def source(self) -> str:
        """Where the cell was published: authors and year, and what finds it."""
        return ""

    @property
    @abstractmethod
    def params(self) -> dict[str, Param]:
        """Every parameter by name."""

    @property
    def count(self) -> int:
        """How many numbers the parameters are."""
        return sum(prod(spec.shape) for spec in self.params.values())

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        """Every state by name, with its shape behind the batch axis; the first is the output."""
        return {"h": (self.hidden_size,)}

    @property
    def data(self) -> dict[str, tuple[int, ...]]:
        """What each step needs besides x (a random mask, say), by name, with its shape behind the batch axis."""
        return {}

    @property
    def output_size(self) -> int:
        """O, the width of the output: of the first state."""
        return next(iter(self.states.values()))[-1]

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """Parameters that hold blocks side by side on their last axis, with the names of the blocks: the gates."""
        return {}

    @property
    def inexact(self) -> str:
        """Why the backward is not the derivative of the forward, where it is not meant to be: a check then refuses."""
        return ""

    @property
    def memory_gates(self) -> Mapping[str, int]:
        """Gates that keep what a cell remembers when open (+1), or let it go (−1): chrono initialisation asks."""
        return {}

    @property
    def starting(self) -> dict[str, Param]:
        """Those of `params` that only `start` reads."""
        return {}

    def init(self, rng: np.random.Generator) -> dict[str, HostArray]:
        """Freshly drawn parameters, as host arrays in float64."""
        return {name: spec.init(rng, spec.shape) for name, spec in self.params.items()}

    def initial_state(self, xp: Namespace, batch: int, like: Array) -> State:
        """The state before the first step: zeros, with the dtype and on the device of `like`."""
        return tuple(zeros(xp, (batch, *shape), like) for shape in self.states.values())

    def start(self, xp: Namespace, p: Params, batch: int, like: Array) -> tuple[State, StartBackward]:
        """What a scan starts from where it is given no state, and starts anew from at a reset, and backward(ds) -> dp:
        `initial_state`, unless it is learned.
        """
        del p
        return self.initial_state(xp, batch, like), lambda ds: {}  # noqa: ARG005

    def random_state(self, rng: np.random.Generator, batch: int) -> tuple[HostArray, ...]:
        """A random *valid* state for checks: a normaliser that must be positive is positive."""
        return tuple(0.5 * rng.standard_normal((batch, *shape)) for shape in self.states.values())

    @abstractmethod
    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        """One step: s' and backward(ds') -> dp, dx, ds, where None stands for zero."""

    def scan(self, xp: Namespace, p: Params, xs: Array, s0: State, **options: Any) -> Any:
        """A cell's own way over the whole sequence, with the contract of `rnnbp.scan` (a parallel scan over time,
        say). `options` are mask, resets, data, reverse, record, and keep, which is False where no backward is wanted;
        NotImplemented leaves it to the loop over `step`.
        """
        del xp, p, xs, s0, options
        return NotImplemented
