"""`rnnbp.gradcheck`: one door for cells and for anybody's functions. What is behind it loads when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from rnnbp.cellbase import Cell
from rnnbp.checking.report import Report
from rnnbp.errors import UserError, unknown


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
        return _taking(check_function, options)(what, inputs, **options)
    from rnnbp.checking.cells import check_gradients

    if inputs is not None:
        raise UserError("a check of a cell draws its own inputs; got inputs, too: leave them out")
    if isinstance(what, type):
        raise UserError(
            f"a gradient check takes a cell, or NAME[:option=value,…]; got the class: make one, {what.__name__}(4, 6)"
        )
    return _taking(check_gradients, options)(what, **options)


def _taking(call: Callable[..., Report], options: Mapping[str, Any]) -> Callable[..., Report]:
    """The function, if it takes these options."""
    known = [name for name, p in signature(call).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise unknown("option of gradcheck", name, known)
    return call
