"""What `scan` accepts: each array's shape, dtype and library, refused in one line that says the rule and what came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rnnbp.cellbase import Cell, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, one_namespace, real_dtype
from rnnbp.truncation import Window


def check_shape(name: str, a: Array, ending: tuple[Any, ...], letters: str, free: bool = True) -> None:
    """The last axes of `a` must be `ending`, where None fits any length; further leading axes only where `free`."""
    shape, n = tuple(a.shape), len(ending)
    fits = len(shape) >= n if free else len(shape) == n
    if not fits or any(want not in (None, got) for want, got in zip(ending, shape[len(shape) - n :], strict=True)):
        known = ", ".join(
            f"{axis}={size}" for axis, size in zip(letters.strip("(.) ").split(", ")[-n:], ending, strict=True) if size
        )
        raise UserError(f"{name} must have shape {letters}{' with ' + known if known else ''}; got {shape}")


def check_names(what: str, got: Iterable[str], expected: Iterable[str]) -> None:
    """The names must be just the expected ones."""
    have, want = set(got), set(expected)
    if have != want:
        missing, extra = ", ".join(sorted(want - have)), ", ".join(sorted(have - want))
        parts = [f"missing {missing}"] * bool(missing) + [f"unknown {extra}"] * bool(extra)
        raise UserError(f"{what} must be named {', '.join(sorted(want)) or 'nothing'}; {' and '.join(parts)}")


def check_scan(
    cell: Cell,
    params: Params,
    xs: Array,
    s0: State | None,
    mask: Array | None,
    resets: Array | None,
    data: Params | None,
) -> Namespace:
    """All arguments of a scan fit the cell and each other; returns the namespace that they share."""
    named = {"xs": xs, **params, **(data or {})}
    named |= {f"s0[{k}]": z for k, z in enumerate(s0 or ())}
    flags = {n: a for n, a in (("mask", mask), ("resets", resets)) if a is not None}
    for name, a in (named | flags).items():
        if not hasattr(a, "shape") or not hasattr(a, "dtype"):
            raise UserError(f"{name} must be an array; got {type(a).__name__}: convert it with backend.asarray")
    xp = one_namespace(**named, **flags)
    check_shape("xs", xs, (None, None, cell.input_size), "(..., T, B, I)")
    time_steps, batch = xs.shape[-3:-1]
    if time_steps < 1 or batch < 1:
        raise UserError(f"xs must hold at least one time step and one sequence; got shape {tuple(xs.shape)}")
    specs = cell.params
    check_names(f"parameters of {type(cell).__name__}", params, specs)
    for name, spec in specs.items():
        axes = ", ".join(map(str, spec.shape))
        check_shape(name, params[name], spec.shape, f"(..., {axes})")
    if s0 is not None:
        if len(s0) != len(cell.states):
            raise UserError(f"s0 must hold one array per state ({', '.join(cell.states)}); got {len(s0)}")
        for (name, shape), z in zip(cell.states.items(), s0, strict=True):
            check_shape(f"s0 ({name})", z, (batch, *shape), f"(..., B, {', '.join(map(str, shape))})")
    for name, flag in flags.items():
        check_shape(name, flag, (time_steps, batch), "(T, B)", free=False)
        if flag.dtype != xp.bool:
            raise UserError(f"{name} must be boolean; got {flag.dtype}: pass {name} != 0")
    check_names(f"data of {type(cell).__name__}", data or {}, cell.data)
    for name, shape in cell.data.items():
        axes = ", ".join(map(str, shape))
        check_shape(name, (data or {})[name], (time_steps, batch, *shape), f"(..., T, B, {axes})")
    check_dtypes(xp, **named)
    return xp


def check_dtypes(xp: Namespace, **named: Array) -> None:
    """One precision for all: float32 with complex64, or float64 with complex128."""
    kinds = {name: real_dtype(xp, a) for name, a in named.items()}
    if len(set(kinds.values())) > 1:
        first, kind = next(iter(kinds.items()))
        other = next(name for name, k in kinds.items() if k != kind)
        raise UserError(f"dtypes must agree; {first} is {kind}, {other} is {kinds[other]}: convert one of them")
    if not xp.isdtype(next(iter(named.values())).dtype, ("real floating", "complex floating")):
        raise UserError(f"arrays must be floating; got {next(iter(kinds.values()))}")


def check_window(window: Window, time_steps: int, reverse: bool) -> None:
    """A window lies within the sequence; through a reversed direction only the whole sequence makes sense."""
    start, lo, stop = window
    if not 0 <= start <= lo < stop <= time_steps:
        raise UserError(f"a window needs 0 <= start <= lo < stop <= T={time_steps}; got {tuple(window)}")
    if reverse and (start, lo, stop) != (0, 0, time_steps):
        raise UserError(f"a window cannot go through a reversed direction; got {tuple(window)}: use full BPTT")
