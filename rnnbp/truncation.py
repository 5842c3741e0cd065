"""Truncation is data: which errors flow back how far."""

from __future__ import annotations

import re
from typing import NamedTuple

from rnnbp.errors import UserError


class Window(NamedTuple):
    """Errors met at steps lo … stop−1 flow back to step `start` and no further.

    The gradient of a window is d/dθ Σ_{lo ≤ t < stop} L_t with every state at the entrance of `start` held constant.
    """

    start: int
    lo: int
    stop: int


def full(time_steps: int) -> list[Window]:
    """Full backpropagation through time: one window over the whole sequence."""
    return [Window(0, 0, time_steps)]


def tbptt(time_steps: int, k1: int, k2: int) -> list[Window]:
    """Truncated BPTT(k1, k2): every k1 steps the errors of these steps go back k2 steps (Williams & Peng 1990)."""
    if k1 < 1:
        raise UserError(f"truncation tbptt:K1,K2 needs K1 of at least 1; got {k1}")
    if k2 < k1:
        raise UserError(f"truncation tbptt:K1,K2 needs K2 >= K1, or errors would be dropped; got K1={k1}, K2={k2}")
    edges = [(lo, min(lo + k1, time_steps)) for lo in range(0, time_steps, k1)]
    return [Window(max(0, stop - k2), lo, stop) for lo, stop in edges]


def parse(text: str, time_steps: int) -> list[Window]:
    """`full` or `tbptt:K1,K2`, as typed on the command line, for a sequence of that length."""
    if text == "full":
        return full(time_steps)
    match = re.fullmatch(r"tbptt:(\d+),(\d+)", text)
    if match is None:
        raise UserError(f"truncation must be full or tbptt:K1,K2 with whole numbers; got {text!r}")
    return tbptt(time_steps, int(match[1]), int(match[2]))
