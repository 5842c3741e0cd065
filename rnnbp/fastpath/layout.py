"""Where a cell's values lie in the arrays of a scan, and which cells the fast path takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rnnbp.cellbase import Cell
from rnnbp.lowering import Node, Trace, Untraceable, reach, saved, trace
from rnnbp.numerics import Array, Namespace, chunks
from rnnbp.pointwise import PointwiseCell, own_part


@dataclass(frozen=True, eq=False)
class Layout:
    """The columns of the errors dz, the slots of what the forward leaves, the states that U multiplies.

    dz holds, side by side, [input parts of split gates][gates that are not split][recurrent parts of split gates]: its
    first G blocks are the errors of x W + b, its last G those of h U, so that every product is one GEMM on a slice.
    """

    cell: PointwiseCell
    trace: Trace
    kept: tuple[Node, ...]  # what the forward leaves, in the order of its places

    @property
    def gates(self) -> tuple[str, ...]:
        """In the order of the columns of W, U and b."""
        return self.cell.gates

    @cached_property
    def of_x(self) -> tuple[str, ...]:
        """The gates in the order of the first G blocks of dz."""
        return (*self.split, *self.unsplit)

    @cached_property
    def of_h(self) -> tuple[str, ...]:
        """The gates in the order of the last G blocks of dz."""
        return (*self.unsplit, *self.split)

    @cached_property
    def split(self) -> tuple[str, ...]:
        """The gates with two parts, in the order of the columns of W."""
        return tuple(g for g in self.gates if g in self.cell.split)

    @cached_property
    def unsplit(self) -> tuple[str, ...]:
        """The gates with one part, in the order of the columns of W."""
        return tuple(g for g in self.gates if g not in self.cell.split)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The pre-activations whose errors are the blocks of dz."""
        ends = [[f"a_{g}_{end}" for g in self.split] for end in "xh"]
        return (*ends[0], *(f"a_{g}" for g in self.unsplit), *ends[1])

    @property
    def extra(self) -> int:
        """How many kept values have no place in a buffer of x W, where they write over it."""
        return max(0, len(self.kept) - len(self.gates))

    @cached_property
    def used(self) -> frozenset[Node]:
        """All nodes that the new states or what is kept is made of."""
        return frozenset(reach([*self.trace.new_states.values(), *self.kept]))


@lru_cache(maxsize=256)
def layout(cell: Cell) -> Layout:
    """The layout of a cell, or `Untraceable` with the reason why the portable path runs it."""
    found = trace(cell)
    made: PointwiseCell = found.cell
    own = own_part(made) if type(made).scan is Cell.scan else "scan"
    if own is not None:  # the fast scan would do it in place of the cell
        raise Untraceable(f"it brings its own {own}, which the portable path calls")
    n, width = made.hidden_size, len(made.gates) * made.hidden_size
    for kind, shapes in (("state", made.states), ("data", made.data)):
        for name, shape in shapes.items():
            if tuple(shape) != (n,):
                raise Untraceable(f"its {kind} {name} has shape {shape}, not ({n},)")
    for name, spec in made.elementwise.items():
        if spec.shape not in ((n,), (1,)):
            raise Untraceable(f"its parameter {name} has shape {spec.shape}, neither ({n},) nor (1,)")
    affine = {"W": (made.input_size, width)} | ({"b": (width,)} if made.bias else {})
    if made.recurrent:
        affine["U"] = (n * len(made.recurrent), width)
    apart = {*made.elementwise, *made.starting}
    shapes = {name: spec.shape for name, spec in made.params.items() if name not in apart}
    if shapes != affine or (made.split and not made.recurrent):
        raise Untraceable(f"its parameters {shapes} are not those of a step that is affine, then pointwise")
    return Layout(made, found, saved(found))


def in_order(xp: Namespace, w: Array, order: Sequence[str], wanted: Sequence[str]) -> Array:
    """The blocks of gates that lie side by side in one order, in another."""
    if tuple(order) == tuple(wanted):
        return w
    blocks = dict(zip(order, chunks(w, len(order)), strict=True))
    return xp.concat([blocks[g] for g in wanted], axis=-1)
