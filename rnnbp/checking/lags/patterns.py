"""Where in the matrix of errors over time the wrong blocks lie, in words."""

from __future__ import annotations

import numpy as np

from rnnbp.numerics import HostArray


def where(wrong: HostArray, alive: HostArray, state: bool = False) -> str:
    """The place of the wrong blocks (T + 1, S), `alive` being those that are not zero on both sides.

    Row t is the error met at step t, the last row that of the last state; column s is the step that used the tensor,
    or the only one for a state before the first step.
    Whatever reaches a step flows on to all steps before it, so the narrowest place that holds all wrong blocks is the
    one to look at; where the local term is wrong, the recurrence is, too.
    """
    last, steps = wrong.shape[0] - 1, wrong.shape[1]
    if not wrong.any():
        return "nowhere"
    everywhere = not (alive & ~wrong).any()
    rows, columns = np.flatnonzero(wrong.any(axis=1)), np.flatnonzero(wrong.any(axis=0))
    if state:
        return "everywhere" if everywhere else _rows(rows, last)
    lag = np.minimum(np.arange(last + 1), last - 1)[:, None] - np.arange(steps)
    if wrong[lag < 0].any():
        return "everywhere" if wrong.all() else "steps after the error (s > t)"
    if last > 1:
        if set(columns) == {0}:
            return "edge s = 0 (first step)"
        if set(rows) <= {last - 1, last}:
            return _rows(rows, last)
        if set(columns) == {steps - 1}:
            return "edge s = T−1 (last step)"
    if not wrong[lag > 0].any():
        return "local term (t = s)"
    if not wrong[lag == 0].any():
        least = int(lag[wrong].min())
        return "recurrence (s < t)" + (f", from lag {least} on" if least > 1 else "")
    if everywhere:
        return "everywhere, the local term (t = s) included"
    return f"{int(wrong.sum())} of {int((alive | wrong).sum())} blocks, the local term (t = s) included"


def _rows(rows: HostArray, last: int) -> str:
    if set(rows) == {last}:
        return "last row (error of the last state)"
    if set(rows) <= {last - 1, last}:
        return "edge t = T−1 (last step)"
    if set(rows) == set(range(rows[0], last + 1)):
        return f"recurrence (from t = {rows[0]} on)"
    return f"rows t = {', '.join('end' if t == last else str(t) for t in rows)}"
