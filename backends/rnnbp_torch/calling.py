"""One scan of a cell or a stack, for torch: how its arguments and results become flat rows of tensors, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch

from rnnbp.cellbase import Cell
from rnnbp.errors import UserError
from rnnbp.numerics import Array
from rnnbp.recomputing import Remat
from rnnbp.scanning import run, scan
from rnnbp.stacking import Stack, States
from rnnbp.truncation import Truncation, Window
from rnnbp.validation import check_arrays, check_length, check_shape, check_states, check_windows

Back = Callable[..., tuple[dict[str, Array], Array, Any]]


@dataclass(frozen=True, eq=False)
class Call:
    """A scan but for its tensors, which are xs, the states of s0 if there are any, and the parameters."""

    cell: Cell | Stack
    started: bool  # whether there is an s0
    options: dict[str, Any]  # those that `scan` and `run` share
    windows: list[Window]
    remat: Remat

    @property
    def cells(self) -> list[Cell]:
        """Every cell, in the order of the states."""
        return [cell for _, cell in self.cell.cells] if isinstance(self.cell, Stack) else [self.cell]

    def flat(self, s: Any) -> list[Array]:
        """The states of all cells in a row."""
        return [z for part in _by_cell(self.cell, s) for z in part] if s is not None else []

    def nested(self, row: Sequence[Array | None]) -> Any:
        """What `flat` was given."""
        rest = iter(row)
        parts = tuple(tuple(islice(rest, len(cell.states))) for cell in self.cells)
        return parts if isinstance(self.cell, Stack) else parts[0]

    def run(self, tensors: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Ys and the last states in a row; nothing is kept."""
        way = self.cell.run if isinstance(self.cell, Stack) else partial(run, self.cell)
        ys, last = self._by(way, tensors)
        return ys, last

    def scan(self, tensors: Sequence[Array]) -> tuple[Array, list[Array], Back]:
        """Ys, the last states in a row, and the backward."""
        way = self.cell.scan if isinstance(self.cell, Stack) else partial(scan, self.cell)
        ys, last, back = self._by(partial(way, remat=self.remat), tensors)
        return ys, last, back

    def _by(self, way: Callable[..., Any], tensors: Sequence[Array]) -> Any:
        """What a way gives, in the tensors' own precision; last states are copied, for one may be s0's."""
        xs, *rest = (t.detach() for t in tensors)
        if xs.is_complex():
            raise UserError("a Module takes real numbers; got complex ones: rnnbp.scan takes them")
        count = sum(len(cell.states) for cell in self.cells) if self.started else 0
        s0 = self.nested(rest[:count]) if self.started else None
        params = dict(zip(self.cell.params, rest[count:], strict=True))
        with torch.no_grad(), torch.autocast(xs.device.type, enabled=False):
            ys, last, *back = way(params, xs, s0, **self.options)
        if ys.ndim != 3:
            raise UserError(f"s0 and data must have no axes before T and B; they make outputs {tuple(ys.shape)}")
        return ys, [z.clone() for z in self.flat(last)], *back

    def gradients(self, back: Back, dys: Array | None, dlast: Sequence[Array | None]) -> list[Array]:
        """The errors of the tensors, summed over the windows."""
        total: list[Array] = []
        for window in self.windows:
            dparams, dxs, ds = back(dys, self.nested(dlast), window)
            states = self.flat(ds) if self.started else []
            if window.start:  # else they are errors of a later state
                states = [torch.zeros_like(z) for z in states]
            found = [dxs, *states, *dparams.values()]
            total = [a + b for a, b in zip(total, found, strict=True)] if total else found
        return total


def call(
    cell: Cell | Stack,
    xs: Array,
    s0: Any,
    reverse: bool,
    truncation: str | Sequence[Window],
    remat: Remat,
    options: dict[str, Any],
) -> Call:
    """The call, checked as far as torch makes a difference; the scan checks the rest."""
    check_arrays(xs=xs)
    check_shape("xs", xs, (None, None, cell.input_size), "(T, B, I)", free=False)
    check_length(xs)
    for name, value in (options["data"] or {}).items():
        if getattr(value, "requires_grad", False):
            raise UserError(f"data get no gradient; {name} asks for one: pass {name}.detach()")
    kind = Truncation.parse(truncation) if isinstance(truncation, str) else Truncation()
    windows = kind.windows(xs.shape[0]) if isinstance(truncation, str) else truncation
    if isinstance(cell, Stack):
        if reverse:
            raise UserError("reverse is for a single cell; got it for a stack: make the stack bidirectional")
        cell, reverse = cell.of_cells(kind.of), cell.bidirectional
    else:
        cell, options = kind.of(cell), options | {"reverse": reverse}
    made = Call(cell, s0 is not None, options, check_windows(windows, xs.shape[0], reverse), remat)
    if s0 is not None:
        for own, part in zip(made.cells, _by_cell(cell, s0), strict=True):
            check_states("s0", part, own)
            check_arrays(**dict(zip((f"s0 ({name})" for name in own.states), part, strict=True)))
    return made


def _by_cell(cell: Cell | Stack, s: Any) -> States:
    """One tuple of states per cell."""
    if not isinstance(cell, Stack):
        return (s,)
    count = len(list(cell.cells))
    if not isinstance(s, tuple | list) or len(s) != count:
        got = len(s) if isinstance(s, tuple | list) else type(s).__name__
        raise UserError(f"s0 of a stack must be a tuple with one tuple of states per cell, {count}; got {got}")
    return tuple(s)
