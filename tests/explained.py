"""The numbers of answers, each computed once for all tests, and how exact they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rnnbp.explaining import Answer, question

ROUNDING = 1e-12  # of sums of some thousand terms, each exact to 2e-16


@cache
def answer(name: str) -> Answer:
    """To the question of that name."""
    return question(name).answer()


def numbers(name: str) -> Mapping[str, float]:
    """All that the answer shows."""
    return answer(name).numbers
