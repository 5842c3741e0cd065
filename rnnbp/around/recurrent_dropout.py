"""Recurrent dropout: one mask for a whole sequence on what U multiplies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.around.base import AroundPointwise, Masks, check_rate, inverted, together
from rnnbp.cellbase import Cell
from rnnbp.errors import UserError


@dataclass(frozen=True)
class RecurrentDropout(AroundPointwise):
    """Variational dropout of the recurrent connections (Gal & Ghahramani 2016, arXiv 1512.05287):

        a = x W + (m ∘ h) U + b         the state itself is carried on as it is

    with m = 0 at `rate`, else 1 / (1 − rate), for each unit the same at all steps of a sequence; 1 in evaluation. m
    comes in as data, `dropout_<state>`, for each state that U multiplies.
    Backward:  dh += m ∘ (da Uᵀ),  dU = (m ∘ h)ᵀ da.
    Its other half, m ∘ x, is dropout between layers with one mask per sequence (`rnnbp.Stack`).
    """

    rate: float = 0.1

    def _settle(self) -> None:
        check_rate(self.rate)
        if not self.recurrent:
            raise UserError(f"recurrent dropout is of what U multiplies; {type(self.cell).__name__} has no U")

    @property
    def _names(self) -> dict[str, str]:
        return {name: f"dropout_{name}" for name in self.recurrent}

    @property
    def data(self) -> dict[str, tuple[int, ...]]:
        return together("data", self.cell.data, {own: self.states[name] for name, own in self._names.items()})

    @property
    def dropped(self) -> dict[str, str]:
        return self._names

    def drawn(self, rng: np.random.Generator, time_steps: int, batch: int) -> Masks:
        masks = super().drawn(rng, time_steps, batch)
        for name, own in self._names.items():
            mask = inverted(rng, (batch, *self.states[name]), self.rate)
            masks[own] = np.broadcast_to(mask, (time_steps, *mask.shape))
        return masks

    def expected(self, time_steps: int, batch: int) -> Masks:
        ones = {own: np.ones((time_steps, batch, *self.states[name])) for name, own in self._names.items()}
        return super().expected(time_steps, batch) | ones


def recurrent_dropout(cell: Any, rate: float = 0.1) -> Cell:
    """One mask per sequence on what U multiplies; only a pointwise cell says what that is."""
    return RecurrentDropout(cell, rate)
