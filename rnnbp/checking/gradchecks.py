"""`rnnbp.gradcheck`: one door for cells and for anybody's functions. What is behind it loads when it is opened."""

from __future__ import annotations

from typing import Any

from rnnbp.cellbase import Cell
from rnnbp.checking.report import Report
from rnnbp.errors import UserError


def gradcheck(what: Any, inputs: Any = None, **options: Any) -> Report:
    """Is a backward the derivative of its forward? Every gradient against exact derivatives of the forward.

    what: a cell, or NAME[:option=value,…], with the options of `rnnbp.checking.cells.check_gradients`: every parameter,
    the inputs and the initial states of a random problem. Or any function that returns (value, backward), at `inputs`,
    with the options of `rnnbp.checking.foreign.check.check_function`: NumPy, CuPy, torch or JAX code that knows nothing
    of rnnbp.

    Returns a `Report`: `passed`, `worst`, `checks`, `findings`; readable by print, in a notebook, and by `to_json()`.
    Wrong arguments are a UserError, in one line.
    """
    if callable(what) and not isinstance(what, (type, Cell)):
        from rnnbp.checking.foreign.check import check_function

        if inputs is None:
            raise UserError("a check of a function needs the inputs at which to check it: gradcheck(fn, inputs)")
        return check_function(what, inputs, **options)
    from rnnbp.checking.cells import check_gradients

    if inputs is not None:
        raise UserError("a check of a cell draws its own inputs; got inputs, too: leave them out")
    return check_gradients(what, **options)
