"""What a backend makes of a cell's definition: graphs of its pointwise part."""

from __future__ import annotations

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.methods.symbolic import disagreements
from rnnbp.lowering import untraceable
from rnnbp.testing.cases import LeftOut

ROUNDING = 50 * float(np.finfo(np.float64).eps)  # 1.1e-14 of the largest entry: some tens of operations


def traceable(cell: Cell, backend: Backend) -> str:
    """The backward of a traced `pointwise` is the derivative of the traced forward, by the rules of calculus."""
    del backend
    if reason := untraceable(cell):
        raise LeftOut(f"the cell cannot be traced, so it runs on the portable path: {reason}")
    found = disagreements(cell)
    wrong = {name: error for name, error in found.items() if not error <= ROUNDING}  # NaN is not
    if not wrong:
        return ""
    worst = max(wrong, key=lambda name: wrong[name])
    return f"{worst} is not the derivative of the forward: error {wrong[worst]:.1e}; wrong: {', '.join(wrong)}"
