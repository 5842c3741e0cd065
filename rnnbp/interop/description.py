"""What every foreign format is read to and written from: a cell with its weights in our layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.cells.elman import Elman
from rnnbp.cells.gru import GRU, ResetBeforeGRU
from rnnbp.cells.irnn import IRNN
from rnnbp.cells.lstm import LSTM
from rnnbp.cells.lstm_projected import ProjectedLSTM
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

# class -> the kind of cell, options that the class stands for, and the registered name that makes it
CLASSES: dict[type[Cell], tuple[str, dict[str, Any], str]] = {
    Elman: ("rnn", {}, "elman"),
    IRNN: ("rnn", {}, "irnn"),
    LSTM: ("lstm", {}, "lstm"),
    ProjectedLSTM: ("lstm-projected", {}, "lstm-projected"),
    GRU: ("gru", {"reset": "after"}, "gru"),
    ResetBeforeGRU: ("gru", {"reset": "before"}, "gru"),
}
SIZES = ("input_size", "hidden_size")
# options of first weights, or of the backward alone
NEUTRAL = ("forget_bias", "scale", "stopped", "peephole_error")


@dataclass(frozen=True)
class Direction:
    """One cell: its kind, sizes, the options that its equations depend on, and its parameters by our names.

    kind: rnn, lstm, lstm-projected or gru. unsaid: options that a file does not tell, with what they may be. where: its
    name in errors.
    """

    kind: str
    input_size: int
    hidden_size: int
    options: Mapping[str, Any]
    params: Mapping[str, HostArray]
    unsaid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: str = "the file"


Layers: TypeAlias = Sequence[Sequence[Direction]]  # from the bottom up: one direction, or forward and reverse


def defaults(kind: str) -> dict[str, Any]:
    """The options of a kind of cell as they are if nothing is said."""
    found: dict[str, Any] = {}
    for cls, (k, stands_for, _) in reversed(CLASSES.items()):  # the first class of a kind has the last word
        if k == kind:
            found |= {f.name: f.default for f in fields(cls) if f.name not in (*SIZES, *NEUTRAL)} | stands_for
    return found


def beyond(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not as they are by default."""
    usual = defaults(kind)
    return {name: value for name, value in options.items() if name not in usual or usual[name] != value}


def described(cell: Cell) -> tuple[str, dict[str, Any]]:
    """The kind of a cell and its options; a cell of no kind that other libraries have is a UserError."""
    if type(cell) not in CLASSES:
        raise UserError(f"only {', '.join(c.__name__ for c in CLASSES)} exist elsewhere; got {type(cell).__name__}")
    kind, stands_for, _ = CLASSES[type(cell)]
    own = {f.name: getattr(cell, f.name) for f in fields(cell) if f.name not in (*SIZES, *NEUTRAL)}
    own |= {"projection": cell.width} if isinstance(cell, ProjectedLSTM) else {}
    return kind, own | stands_for


def words(options: Mapping[str, Any]) -> str:
    """Options as they are typed: name=value, the next after a comma."""

    def word(value: Any) -> str:
        if isinstance(value, tuple):
            return "+".join(value)
        return str(value).lower() if value is None or isinstance(value, bool) else str(value)

    return ",".join(f"{name}={word(value)}" for name, value in options.items())


def fit(name: str, a: HostArray | None, *shape: int | str) -> HostArray:
    """The array, if it is there and has that shape, where a letter stands for any size."""
    expected = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
    if a is None:
        raise UserError(f"{name} of shape {expected} is missing")
    same = len(a.shape) == len(shape) and all(isinstance(n, str) or n == m for n, m in zip(shape, a.shape, strict=True))
    if not same:
        raise UserError(f"{name} must have shape {expected}; got {tuple(a.shape)}")
    if not np.issubdtype(a.dtype, np.floating):
        raise UserError(f"{name} must hold floating-point numbers; got {a.dtype}")
    return a


def host(a: Any) -> HostArray:
    """An array of any library on the host, cut from its graph if it has one."""
    if hasattr(a, "detach"):
        a = a.detach().cpu()
    elif hasattr(a, "get"):  # CuPy
        a = a.get()
    try:
        return np.asarray(a)
    except TypeError as error:  # bfloat16 of torch
        raise UserError(f"an array must have a dtype that NumPy knows ({error}): cast it to float32 first") from None


def cast(params: Mapping[str, Any], dtype: str | None) -> dict[str, HostArray]:
    """The parameters on the host, in that dtype if one is named."""
    arrays = {name: host(a) for name, a in params.items()}
    if dtype is None:
        return arrays
    if dtype not in ("float32", "float64"):
        raise UserError(f"weights are written in float32 or float64; got {dtype}")
    with np.errstate(over="ignore"):
        made = {name: a.astype(dtype) for name, a in arrays.items()}
    for name, a in made.items():
        if not np.array_equal(np.isfinite(a), np.isfinite(arrays[name])):
            raise UserError(f"{name} holds numbers too large for {dtype}: name a wider one")
    return made
