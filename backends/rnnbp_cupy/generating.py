"""The CUDA C source of a cell's two kernels, made from its graphs: one step forward, one step backward.

One thread has one unit of one sequence. The forward reads x W and h U and writes the new states, the output, and, over
x W, what the backward needs; the backward turns errors of the states after a step into dz, the errors of the
pre-activations, and into the errors of the states before it. Names are those of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rnnbp.cellbase import Cell
from rnnbp.errors import UserError
from rnnbp.fastpath import Layout, layout
from rnnbp.lowering import Untraceable, reach
from rnnbp_cupy.backward import backward_kernel
from rnnbp_cupy.dialect import REAL, prelude, require_known
from rnnbp_cupy.forward import forward_kernel
from rnnbp_cupy.kernels import THREADS as THREADS
from rnnbp_cupy.kernels import Kernel


@dataclass(frozen=True, eq=False)
class Kernels:
    """The source of one compilation unit and what its two kernels take."""

    dtype: str  # of the caller's arrays, and of what is stored for every step
    source: str
    forward: Kernel
    backward: Kernel
    layout: Layout

    @property
    def real(self) -> str:
        """The dtype of all arithmetic, of the states and of sums."""
        return REAL[self.dtype]


@lru_cache(maxsize=256)
def kernels(cell: Cell, dtype: str) -> Kernels:
    """The kernels of a cell for arrays of a dtype; `Untraceable` where there are none."""
    plan = layout(cell)
    require_known(reach([*plan.trace.new_states.values(), *plan.trace.gradients.values()]))
    forward, backward = forward_kernel(plan), backward_kernel(plan)
    head = f"// {plan.cell}, {dtype}: made from the cell's definition, forward and hand-derived backward.\n"
    source = "\n".join([head + prelude(dtype), forward.source, backward.source])
    return Kernels(dtype, source, forward, backward, plan)


def source(cell: Cell, dtype: str) -> str:
    """The source for a dtype; a UserError where the portable path runs, with the reason."""
    if dtype not in REAL:
        raise UserError(f"kernels are made for {', '.join(REAL)}; got {dtype!r}: other dtypes take the portable path")
    try:
        return kernels(cell, dtype).source
    except Untraceable as reason:
        raise UserError(f"there is no kernel for {cell}: {reason}; the portable path runs it") from reason
