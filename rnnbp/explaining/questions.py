"""The questions by name, and what computes their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rnnbp.errors import unknown
from rnnbp.explaining import clipping, deltas, eigenvalues, necessity, truncating, vanishing, windows
from rnnbp.explaining.answers import Answer


class Question(NamedTuple):
    """What is asked, and what computes the answer."""

    text: str
    answer: Callable[[], Answer]


QUESTIONS = {
    "bptt": Question(necessity.QUESTION, necessity.answer),
    "truncation": Question(truncating.QUESTION, truncating.answer),
    "vanishing": Question(vanishing.QUESTION, vanishing.answer),
    "deltas": Question(deltas.QUESTION, deltas.answer),
    "num-steps": Question(windows.QUESTION, windows.answer),
    "eigenvalues": Question(eigenvalues.QUESTION, eigenvalues.answer),
    "clipping": Question(clipping.QUESTION, clipping.answer),
}
"""The questions by name, in the order of the tour."""


def question(name: str) -> Question:
    """The question of that name; an unknown one is a UserError."""
    if name not in QUESTIONS:
        raise unknown("question", name, QUESTIONS)
    return QUESTIONS[name]
