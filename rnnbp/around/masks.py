"""The random data of a stack: masks between its layers, and those of what goes around its cells."""

from __future__ import annotations

import numpy as np

from rnnbp.around.base import Masks, check_rate, drawn, expected, inverted
from rnnbp.stacking import Stack


def in_training(
    stack: Stack,
    rng: np.random.Generator,
    time_steps: int,
    batch: int,
    dropout: float = 0.0,
    per_sequence: bool = False,
) -> Masks:
    """Masks for one batch, as host arrays (T, B, N), named as `Stack.scan` wants its data.

    dropout: the rate between layers and on what the stack gives (Zaremba et al. 2014, but for the input); per_sequence:
    one mask for all steps of a sequence (Gal & Ghahramani 2016), else another one at each.
    """
    check_rate(dropout)
    masks: Masks = {}
    for prefix, cell in stack.cells:
        masks |= {prefix + name: m for name, m in drawn(cell, rng, time_steps, batch).items()}
    if dropout:
        widths = [*(layer[0].input_size for layer in stack.layers), stack.output_size]
        for name, width in zip(stack.dropouts[1:], widths[1:], strict=True):
            m = inverted(rng, (1 if per_sequence else time_steps, batch, width), dropout)
            masks[name] = np.broadcast_to(m, (time_steps, batch, width))
    return masks


def in_evaluation(stack: Stack, time_steps: int, batch: int) -> Masks:
    """What stands for them in evaluation: nothing dropped, zoneout at its mean."""
    pairs = ((prefix, expected(cell, time_steps, batch)) for prefix, cell in stack.cells)
    return {prefix + name: m for prefix, masks in pairs for name, m in masks.items()}
