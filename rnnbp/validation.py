"""What `scan` accepts: each array's shape, dtype and library, refused in one line that says the rule and what came."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

from rnnbp.cellbase import Cell, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, one_namespace, real_dtype
from rnnbp.truncation import Window


def check_shape(name: str, a: Array, ending: tuple[Any, ...], letters: str, free: bool = True) -> None:
    """The last axes of `a` must be `ending`, where None fits any length; further leading axes only where `free`."""
    shape, n = tuple(a.shape), len(ending)
    fits = len(shape) >= n if free else len(shape) == n
    if not fits or any(want not in (None, got) for want, got in zip(ending, shape[len(shape) - n :], strict=True)):
        last = letters.strip("()").split(", ")[-n:]
        known = ", ".join(f"{axis}={size}" for axis, size in zip(last, ending, strict=True) if size and axis.isalpha())
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
    check_states("s0", s0, cell)
    named = {"xs": xs, **params, **(data or {})}
    named |= {f"s0 ({name})": z for name, z in zip(cell.states, s0 or (), strict=False)}
    flags = {n: a for n, a in (("mask", mask), ("resets", resets)) if a is not None}
    xp = check_arrays(**named, **flags)
    check_shape("xs", xs, (None, None, cell.input_size), "(..., T, B, I)")
    time_steps, batch = check_length(xs)
    trailing = {"xs": 3}  # how many of an array's axes are no copies
    specs = cell.params
    check_names(f"parameters of {type(cell).__name__}", params, specs)
    for name, spec in specs.items():
        check_shape(name, params[name], spec.shape, axes("...", *spec.shape))
        trailing[name] = len(spec.shape)
    for (name, shape), z in zip(cell.states.items(), s0 or (), strict=False):
        check_shape(f"s0 ({name})", z, (batch, *shape), axes("...", "B", *shape))
        trailing[f"s0 ({name})"] = 1 + len(shape)
    for name, flag in flags.items():
        check_flags(xp, name, flag, time_steps, batch)
    check_names(f"data of {type(cell).__name__}", data or {}, cell.data)
    for name, shape in cell.data.items():
        check_shape(name, (data or {})[name], (time_steps, batch, *shape), axes("...", "T", "B", *shape))
        trailing[name] = 2 + len(shape)
    check_dtypes(xp, **named)
    check_copies(**{name: tuple(a.shape[: a.ndim - trailing[name]]) for name, a in named.items()})
    return xp


def check_cotangents(
    cell: Cell, sizes: tuple[int, int], dys: Array | None, ds_T: State | None, output: Array
) -> Namespace:
    """What a backward is given must have the shapes, the library and the precision of what the forward gave.

    None stands for zero, for all states or for one.
    """
    check_states("ds_T", ds_T, cell)
    named = {"output": output} | ({"dys": dys} if dys is not None else {})
    named |= {f"ds_T ({name})": d for name, d in zip(cell.states, ds_T or (), strict=False) if d is not None}
    xp = check_arrays(**named)
    if dys is not None:
        check_shape("dys", dys, (*sizes, cell.output_size), "(..., T, B, O)")
    for (name, shape), d in zip(cell.states.items(), ds_T or (), strict=False):
        if d is not None:
            check_shape(f"ds_T ({name})", d, (sizes[1], *shape), axes("...", "B", *shape))
    check_dtypes(xp, **named)
    return xp


def check_flags(xp: Namespace, name: str, flag: Array, time_steps: int, batch: int) -> None:
    """A mask or resets hold one boolean for every step of every sequence."""
    check_shape(name, flag, (time_steps, batch), "(T, B)", free=False)
    if flag.dtype != xp.bool:
        raise UserError(f"{name} must be boolean; got {flag.dtype}: pass {name} != 0")


def axes(*letters: str | int) -> str:
    """Axes as they are written in a message: (..., B, 5)."""
    return f"({', '.join(map(str, letters))})"


def check_states(what: str, s: Any, cell: Cell) -> None:
    """States come as a tuple, or a list, with one array for each."""
    if s is None:
        return
    rule = f"{what} must be a tuple with one array per state ({', '.join(cell.states)})"
    if not isinstance(s, tuple | list):
        raise UserError(f"{rule}; got {type(s).__name__}")
    if len(s) != len(cell.states):
        raise UserError(f"{rule}; got {len(s)}")


def check_arrays(**named: Any) -> Namespace:
    """All are arrays, of one library; returns its namespace."""
    for name, a in named.items():
        if not hasattr(a, "shape") or not hasattr(a, "dtype"):
            raise UserError(f"{name} must be an array; got {type(a).__name__}: convert it with backend.asarray")
    return one_namespace(**named)


def check_copies(**leads: tuple[int, ...]) -> None:
    """Leading axes, which are copies, broadcast against each other."""
    try:
        np.broadcast_shapes(*leads.values())
    except ValueError:
        got = ", ".join(f"{name} {lead}" for name, lead in leads.items() if lead)
        raise UserError(f"leading axes are copies and must broadcast against each other; got {got}") from None


def check_dtypes(xp: Namespace, /, **named: Array) -> None:
    """One precision for all: float32 with complex64, or float64 with complex128; halves where the library has them."""
    kinds = {name: real_dtype(xp, a) for name, a in named.items()}
    if len(set(kinds.values())) > 1:
        first, kind = next(iter(kinds.items()))
        other = next(name for name, k in kinds.items() if k != kind)
        raise UserError(f"dtypes must agree; {first} is {kind}, {other} is {kinds[other]}: convert one of them")
    kind = next(iter(kinds.values()))  # bfloat16 is none of NumPy's own dtypes, which its isdtype insists on
    if kind != "bfloat16" and not xp.isdtype(next(iter(named.values())).dtype, ("real floating", "complex floating")):
        raise UserError(f"arrays must be floating; got {kind}")


def check_length(xs: Array) -> tuple[int, int]:
    """T and B, each at least 1."""
    if 0 in xs.shape[-3:-1]:
        raise UserError(f"xs must hold at least one time step and one sequence; got shape {tuple(xs.shape)}")
    return int(xs.shape[-3]), int(xs.shape[-2])


def check_windows(windows: Any, time_steps: int, reverse: bool) -> list[Window]:
    """The windows of a sequence, at least one."""
    if not isinstance(windows, tuple | list):
        raise UserError(f"windows must be a list of windows (start, lo, stop); got {type(windows).__name__}")
    if not windows:
        raise UserError("windows must hold at least one window (start, lo, stop); got none: pass None for full BPTT")
    return [check_window(window, time_steps, reverse) for window in windows]


def check_window(window: Any, time_steps: int, reverse: bool) -> Window:
    """A window lies within the sequence; through a reversed direction only the whole sequence makes sense.

    A decay there counts the steps as the scan takes them.
    """
    parts = window if isinstance(window, tuple) else ()
    if len(parts) != 3 or not all(isinstance(t, Integral) and not isinstance(t, bool) for t in parts):
        kinds = f" of {', '.join(type(t).__name__ for t in parts)}" if parts else ""
        rule = "a window must be a tuple of three whole numbers, Window(start, lo, stop)"
        raise UserError(f"{rule}; got {type(window).__name__}{kinds}")
    start, lo, stop = map(int, parts)
    decay = getattr(window, "decay", 1.0)
    if not isinstance(decay, (int, float)) or not 0 < decay <= 1:
        raise UserError(f"a window's decay must lie above 0, and be 1 for none; got {decay!r}")
    if not 0 <= start <= lo < stop <= time_steps:
        raise UserError(f"a window needs 0 <= start <= lo < stop <= T={time_steps}; got {(start, lo, stop)}")
    if reverse and (start, lo, stop) != (0, 0, time_steps):
        raise UserError(f"a window cannot go through a reversed direction; got {(start, lo, stop)}: use full BPTT")
    return Window(start, lo, stop, float(decay))
