"""Blocks of U that count as zero: made zero before a fast scan, and in its gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from array_api_compat import array_namespace

from rnnbp.cellbase import Params
from rnnbp.numerics import Array


def blanked(scan: Callable[..., Any]) -> Callable[..., Any]:
    """A backend's scan that multiplies by all of U, as one that leaves out what `PointwiseCell.unfed` names."""

    @wraps(scan)
    def without(cell: Any, params: Params, xs: Array, *arguments: Any, **options: Any) -> Any:
        if not getattr(cell, "unfed", None):
            return scan(cell, params, xs, *arguments, **options)
        xp = array_namespace(xs)
        result = scan(cell, cell.connected(xp, params), xs, *arguments, **options)
        if result is NotImplemented or result[2] is None:
            return result
        ys, s_T, back = result

        def backward(*cotangents: Any, **named: Any) -> Any:
            dparams, *rest = back(*cotangents, **named)
            return cell.connected(xp, dparams), *rest

        return ys, s_T, backward

    return without
