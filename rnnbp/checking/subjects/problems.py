"""The random problem that a cell is checked on: nothing in it is zero, equal or symmetric, so no fault can hide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.checking.subjects.subject import free_name, held_by, unlike_zero
from rnnbp.errors import unknown
from rnnbp.numerics import HostArray

# which outputs have an error -> what a report says of it
COTANGENTS = {
    "all": "errors at every step and at the last states",
    "last": "an error at the last output of each sequence alone",
    "state": "errors at the last states alone",
}


@dataclass(frozen=True)
class Problem:
    """A cell, all that its scan is given, and the cotangents of all that it returns: read-only float64 host arrays."""

    cell: Cell
    params: dict[str, HostArray]
    xs: HostArray  # (T, B, I)
    s0: tuple[HostArray, ...]
    data: dict[str, HostArray]  # (T, B, *shape)
    mask: HostArray | None  # (T, B)
    dys: HostArray  # (T, B, O)
    ds_T: tuple[HostArray, ...]

    @property
    def work(self) -> int:
        """Roughly how many numbers one row of one step holds at once."""
        widest = max((spec.shape[-1] for spec in self.cell.params.values()), default=self.cell.hidden_size)
        return self.cell.input_size + 4 * (widest + len(self.cell.states))


def draw(cell: Cell, time_steps: int, batch: int, seed: int, dtype: str = "float64", padded: bool = True) -> Problem:
    """The problem of that seed, its numbers being ones that `dtype` holds.

    States and biases are not zero: one step from a zero state hides more than half of the usual faults. Every output
    and every last state has a random cotangent. With `padded`, the last sequence is shorter than the others (a mask).
    Data are uniform in (0, 1), where a mask, a keep rate and a time gap are all valid.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> HostArray:
        return held_by(dtype, rng.standard_normal(shape))

    mask = np.ones((time_steps, batch), dtype=bool)
    mask[time_steps - time_steps // 3 :, -1] = False
    return Problem(
        cell,
        params={n: held_by(dtype, v) for n, v in unlike_zero(cell.init(rng), rng).items()},
        xs=normal(time_steps, batch, cell.input_size),
        s0=tuple(held_by(dtype, z) for z in cell.random_state(rng, batch)),
        data={n: held_by(dtype, rng.uniform(0, 1, (time_steps, batch, *shape))) for n, shape in cell.data.items()},
        mask=mask if padded else None,
        dys=normal(time_steps, batch, cell.output_size),
        ds_T=tuple(normal(batch, *shape) for shape in cell.states.values()),
    )


def tensor_names(cell: Cell) -> tuple[str, tuple[str, ...]]:
    """What a report calls the inputs and the initial states: X and h0, c0, …, primed where a parameter has the name."""
    params = tuple(cell.params)
    return free_name("X", params), tuple(free_name(f"{state}0", params) for state in cell.states)


def kinds_of(cotangents: str) -> tuple[str, ...]:
    """The kinds that a word means: one of `COTANGENTS`, or "every" one in turn."""
    if cotangents not in (*COTANGENTS, "every"):
        raise unknown("kind of cotangents", cotangents, (*COTANGENTS, "every"))
    return tuple(COTANGENTS) if cotangents == "every" else (cotangents,)


def restricted(problem: Problem, cotangents: str) -> Problem:
    """The problem with the cotangents of that kind in `COTANGENTS`, the others zero."""
    if cotangents == "all":
        return problem
    if cotangents == "state":
        return replace(problem, dys=np.zeros_like(problem.dys))
    steps = np.arange(1, len(problem.dys) + 1)[:, None] * (True if problem.mask is None else problem.mask)  # (T, B | 1)
    last = steps == np.max(steps, axis=0)
    dys = np.where(last[..., None], problem.dys, 0.0)
    return replace(problem, dys=dys, ds_T=tuple(map(np.zeros_like, problem.ds_T)))
