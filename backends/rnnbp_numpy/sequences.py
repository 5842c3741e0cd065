"""What the buffered scan runs on: a sequence with what its forward leaves, and a cell's two programs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from rnnbp.cellbase import Cell, Params, State
from rnnbp.fastpath import Layout, layout
from rnnbp.numerics import HostArray
from rnnbp.pointwise import PointwiseCell
from rnnbp_numpy.programs import Program, program


@dataclass(frozen=True, eq=False)
class Sequence:
    """A scan's arguments, forwards in time, and what its forward leaves; nothing is written to once it has run."""

    cell: PointwiseCell
    plan: Layout
    params: Params
    xs: HostArray  # (T, B, I)
    mask: HostArray | None  # (T, B, 1)
    resets: HostArray | None
    data: tuple[HostArray, ...]  # (T, B, H) each
    fresh: State
    states: tuple[HostArray, ...]  # (T + 1, B, H) each; where nothing is kept, of those that are no output, two steps
    entered: tuple[HostArray, ...]  # (T, B, H) each: the same but for resets
    context: HostArray  # (T, B, R): what U multiplies
    kept: HostArray  # (T or 1, K, B, H)

    @cached_property
    def drops(self) -> dict[str, HostArray]:
        """What multiplies a state before U does, (T, B, H), where something does."""
        named = dict(zip(self.cell.data, self.data, strict=True))
        return {state: named[name] for state, name in self.cell.dropped.items()}

    @property
    def rows(self) -> list[HostArray]:
        """The elementwise parameters, made to broadcast over the batch."""
        return [self.params[name][None, :] for name in self.cell.elementwise]


@lru_cache(maxsize=256)
def programs(cell: Cell) -> tuple[Program, Program]:
    """One step forward and one back. Inputs and outputs are in the order in which the loops below give them."""
    plan = layout(cell)
    found = plan.trace
    given = [*found.params.values(), *found.data.values()]
    forward = program(
        [*found.operands.values(), *found.states.values(), *given], [*found.new_states.values(), *plan.kept]
    )
    errors = [found.da[name] for name in plan.columns] + [*found.ds.values(), *found.dp.values()]
    known = [*plan.kept, *found.states.values(), *found.new_states.values(), *given]
    return forward, program([*known, *found.errors.values()], errors)
