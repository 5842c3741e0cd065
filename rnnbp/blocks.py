"""Sums over time are made in blocks of steps, at fixed places and from the last to the first.

A backward by segments (`rnnbp.recomputing`) then adds up the same numbers in the same order as one over all steps: its
segments end where blocks do, and each goes on where the one behind it stopped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

ROWS = 1024  # of a block, and more of wide cells: enough for a matrix product, few enough for the cache


class Part(NamedTuple):
    """Which part of a backward through a window one call is. By default the call is all of it."""

    onto: Any = None  # the sums over the steps behind it, as its call returned them in place of dparams
    last: bool = True  # whether no call follows: then sums become dparams
    steps: int | None = None  # of the whole window


def block_steps(batch: int, width: int) -> int:
    """How many steps of B rows a block has, for a cell of that width.

    To add up the gradients of the weights takes as long for few rows as for many: of wide cells, too long.
    """
    return max(1, ROWS * max(1, width // 256) // batch)


def blocks(start: int, stop: int, steps: int) -> list[tuple[int, int]]:
    """The steps start … stop−1 in order, cut at the multiples of `steps`."""
    cuts = [start, *range((start // steps + 1) * steps, stop, steps), stop]
    return list(zip(cuts, cuts[1:], strict=False))
