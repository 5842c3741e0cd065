"""The numeric side of a table over steps: a tensor perturbed at one step of a loop alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rnnbp.checking.foreign.bystep import ByStep
from rnnbp.checking.foreign.fits import Row, pattern_of, patterns, row_of
from rnnbp.checking.foreign.loops import used
from rnnbp.checking.foreign.measures import spread
from rnnbp.checking.foreign.slopes import Slopes
from rnnbp.checking.foreign.verdicts import Judged
from rnnbp.checking.methods.directions import signs
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.numerics import HostArray

CALLS = 20_000  # of a step, for each tensor and point of a stencil: larger tensors are perturbed at some entries
SPARES = 8  # which are at least so many more than steps, for as many weights are to be found


def places_of(gradient: HostArray, steps: int, seed: int) -> list[tuple[int, ...]]:
    """The entries of a tensor that are perturbed at each of the steps: all that `CALLS` allow, or some of each part."""
    count = max(CALLS // steps**2, steps + SPARES)
    return list(np.ndindex(gradient.shape)) if gradient.size <= count else spread(gradient, count, seed)


def work_of(gradients: Mapping[str, HostArray], seed: int) -> int:
    """How many times the loop is gone through for the tables of these gradients (1 + T, *shape)."""
    return sum(len(places_of(g[1], len(g) - 1, seed)) * (len(g) - 1) for g in gradients.values())


def by_steps(
    gradients: Mapping[str, HostArray],
    judged: Mapping[str, Judged],
    loop: Slopes,
    dtypes: Mapping[str, str],
    seed: int,
    advance: Callable[[int], None],
) -> list[ByStep]:
    """The table of each tensor, by the method by which it was judged; gradients (1 + T, *shape), all steps' first."""
    tables = []
    for name, found in judged.items():
        of_steps = gradients[name][1:]
        places, ray = places_of(of_steps[0], len(of_steps), seed), signs(seed, name, found.shape).astype(np.float64)
        doubted = found.method == "complex-step" and loop.doubts({used(name, s): ray for s in range(len(of_steps))})
        method = "five-point" if doubted else found.method
        numeric, rounding = parts_of(name, places, loop, method, advance)
        tables.append(table_of(name, of_steps, places, numeric, rounding, method, loop.limit(method, dtypes[name])))
    return tables


def parts_of(
    name: str, places: Sequence[tuple[int, ...]], loop: Slopes, method: str, advance: Callable[[int], None]
) -> tuple[HostArray, HostArray]:
    """dL_t/dv_s at some entries of v, and how far rounding may have moved it, both (T, S, entries)."""
    steps = len(loop.noise)
    numeric, rounding = (np.zeros((steps, steps, len(places))) for _ in range(2))
    for s in range(steps):
        for k, place in enumerate(places):
            unit = np.zeros(loop.point[used(name, s)].shape)
            unit[place] = 1.0
            numeric[:, s, k], rounding[:, s, k] = loop.slope(method, {used(name, s): unit}, settle=True)
            advance(1)
    return numeric, rounding


def table_of(
    name: str,
    gradients: HostArray,
    places: Sequence[tuple[int, ...]],
    numeric: HostArray,
    rounding: HostArray,
    method: str,
    limit: float,
) -> ByStep:
    """The verdict on the backward's gradients (T, *shape), given their parts (T, S, entries)."""
    analytic = np.array([[g[place] for place in places] for g in gradients])
    single = limit >= tolerance(method, "float32").value  # there a small row is rounded with what it is made of
    slack = limit * float(np.max(np.linalg.norm(numeric.sum(axis=1), axis=-1))) if single else 0.0
    rows = tuple(row_of(*each, limit, slack) for each in zip(analytic, numeric, rounding, strict=True))
    failed = any(not row.error <= limit for row in rows)
    bug = pattern_of(analytic, numeric, rounding, limit, slack) if failed else ""
    sizes = np.linalg.norm(numeric, axis=-1)
    if bug:
        kept = zip(rows, patterns(len(rows))[bug], sizes, strict=True)
        rows = tuple(Row(row.error, ~keeps & (size > 0), np.where(keeps, 1.0, 0.0)) for row, keeps, size in kept)
    few = 0 if len(places) == gradients[0].size else len(places)
    return ByStep(name, sizes, rows, bug, limit, method, few)
