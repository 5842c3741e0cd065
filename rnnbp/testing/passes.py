"""Forward and backward, run in one way and in another that must give the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.blocks import ROWS
from rnnbp.cellbase import Cell
from rnnbp.checking.subjects.problems import tensor_names
from rnnbp.numerics import Array
from rnnbp.scanning import run
from rnnbp.testing.cases import B, Case, T, case, flags, mask, resets
from rnnbp.truncation import Window


def _ways(backend: Backend) -> Iterator[tuple[str, dict[str, Any]]]:
    """The options of a scan, by name."""
    yield "plain", {}
    yield "with a mask", {"mask": mask(backend)}
    yield "with resets", {"resets": resets(backend)}
    yield "reversed", {"reverse": True}
    yield "with mask and resets, reversed", {"mask": mask(backend), "resets": resets(backend), "reverse": True}


def _first(faults: Iterator[str]) -> str:
    return next(filter(None, faults), "")


def repeatable(cell: Cell, backend: Backend) -> str:
    """The same call twice gives the same bits, forward and backward: randomness comes in as `data`, drawn once."""
    once, again = (case(cell, backend).on_host() for _ in range(2))
    return next(
        (f"{name} is another one the second time" for name in once if not np.array_equal(once[name], again[name])), ""
    )


def fast_path(cell: Cell, backend: Backend) -> str:
    """The cell's own scan and the backend's equal the plain loop over `step`: values, gradients, windows."""
    q = case(cell, backend)
    windows = (None, Window(0, 0, T, decay=0.6), Window(1, 2, 4), Window(2, 3, T))

    def faults() -> Iterator[str]:
        for what, options in _ways(backend):
            for window in windows if not options.get("reverse") else windows[:2]:
                wanted = q.results(q.loop, window, **options)
                for path, way in (("scan", q.scan), ("portable scan", q.portable)):
                    found = q.results(way, window, **options)
                    yield q.differ(found, wanted, f"of the {path} {what}{f', {window}' if window else ''}")

    return _first(faults())


def run_is_scan(cell: Cell, backend: Backend) -> str:
    """`rnnbp.run`, which keeps nothing, has the values of `rnnbp.scan`."""
    q = case(cell, backend)

    def faults() -> Iterator[str]:
        for what, options in _ways(backend):
            found = run(cell, q.params, q.xs, q.s0, data=q.data or None, backend=backend, **options)
            yield q.differ(q.outputs(*found), q.outputs(*q.scan(**options)[:2]), f"of run {what}")

    return _first(faults())


def recomputed(cell: Cell, backend: Backend) -> str:
    """`remat=2` gives what the scan gives that keeps all: what passes from step to step is the states, and no more."""
    q = case(cell, backend, batch=ROWS)  # so many that the sums over time are cut after every step or few
    return q.differ(q.results(remat=2), q.results(), "recomputed by segments")


def recorded(cell: Cell, backend: Backend) -> str:
    """`record=True` changes no number, and the record holds every state."""
    q = case(cell, backend)
    ys, _, backward = q.scan(record=True)
    missing = [state for state in cell.states if state not in backward.record]
    if missing:
        return f"the record lacks the state {missing[0]}"
    *_, without = q.scan()
    found, wanted = (q.named(*back(q.dys, q.ds_T)) for back in (backward, without))
    of_output = backward.record[next(iter(cell.states))]
    return q.differ(found | {"ys": of_output}, wanted | {"ys": ys}, "where it is recorded")


def copies(cell: Cell, backend: Backend) -> str:
    """Copies on a leading axis equal one scan for each: write `...` before every axis, and no fixed number of axes."""
    several = [case(cell, backend, seed=seed) for seed in range(3)]
    q, xp = several[0], backend.xp

    def faults() -> Iterator[str]:
        for what, names in (("params", set(q.params)), ("xs", {"xs"}), ("params and xs", {*q.params, "xs"})):
            given = [{n: other.xs if n == "xs" else other.params[n] for n in names} for other in several]
            found = _with(q, {n: xp.stack([one[n] for one in given], axis=0) for n in names}).results()
            for k, one in enumerate(given):
                wanted = _with(q, one).results()
                copy = {n: a[k, ...] if a.ndim > wanted[n].ndim else a for n, a in found.items()}
                yield q.differ(copy, wanted, f"of copy {k} of {what}")

    return _first(faults())


def windows_add_up(cell: Cell, backend: Backend) -> str:
    """The gradients of windows that reach back to the start and tile the sequence add up to the whole gradient."""
    q = case(cell, backend)
    *_, backward = q.scan()
    parts = [q.named(*backward(q.dys, q.ds_T, Window(0, t, t + 1))) for t in range(T)]
    whole = q.named(*backward(q.dys, q.ds_T))
    return q.differ({name: sum(part[name] for part in parts) for name in whole}, whole, "summed over windows")


def masked_values(cell: Cell, backend: Backend) -> str:
    """What a masked step holds does not matter, even NaN: no output, no gradient and no dX there sees it."""
    q, xp, seen = case(cell, backend), backend.xp, mask(backend)
    padding = xp.full_like(q.xs, float("nan"))
    dirty = replace(q, xs=xp.where(seen[..., None], q.xs, padding))
    found = dirty.results(mask=seen)
    outside = {name: xp.where(seen[..., None], xp.zeros_like(found[name]), found[name]) for name in ("ys", q.dX)}
    blank = {name: xp.zeros_like(a) for name, a in outside.items()}
    return q.differ(found, q.results(mask=seen), "beside a NaN in a masked step") or q.differ(
        outside, blank, "in a masked step"
    )


def resets_start_anew(cell: Cell, backend: Backend) -> str:
    """A reset of all sequences cuts the scan in two, the second from `start`, which gets the error of its first state:
    no error crosses it.
    """
    q, at = case(cell, backend), 2
    found = q.results(resets=flags(backend, *((at, k) for k in range(B))))
    zeros = tuple(backend.xp.zeros_like(d) for d in q.ds_T)
    before = replace(q.steps(0, at), ds_T=zeros).results()
    begun, start_back = cell.start(backend.xp, q.params, B, q.xs)
    after = replace(q.steps(at, T), s0=begun).results()
    joined: dict[str, Array] = {f"d{name}": before[f"d{name}"] + after[f"d{name}"] for name in cell.params}
    for name, d in start_back(tuple(after[f"d{s}"] for s in tensor_names(cell)[1])).items():
        joined[f"d{name}"] = joined[f"d{name}"] + d
    for name in ("ys", q.dX):
        joined[name] = backend.xp.concat([before[name], after[name]], axis=-3)
    joined |= {name: after[name] for name in found if name.endswith("_T")}
    joined |= {name: before[name] for name in found if name not in joined}
    return q.differ(found, joined, "with a reset")


def reversed_in_time(cell: Cell, backend: Backend) -> str:
    """`reverse=True` is the scan of the sequence turned round, with outputs and dX turned back."""
    q, xp = case(cell, backend), backend.xp

    def turn(a: Array) -> Array:
        return xp.flip(a, axis=0)

    data = {name: turn(d) for name, d in q.data.items()}
    turned = replace(q, xs=turn(q.xs), dys=turn(q.dys), data=data).results()
    wanted = {name: turn(a) if name in ("ys", q.dX) else a for name, a in turned.items()}
    return q.differ(q.results(reverse=True), wanted, "reversed")


def _with(q: Case, tensors: dict[str, Array]) -> Case:
    """The case with some of its parameters and its inputs exchanged."""
    params = {name: tensors.get(name, value) for name, value in q.params.items()}
    return replace(q, params=params, xs=tensors.get("xs", q.xs))
