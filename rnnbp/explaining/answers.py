"""An answer to a question that people ask: sentences, equations and tables, with numbers that were just computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from rnnbp.checking.report import finite


@dataclass(frozen=True)
class Formula:
    """Equations, one a line, in plain characters."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; the first columns are words, as many as `words` says, the others numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


Part: TypeAlias = str | Formula | Table  # a string is a paragraph


@dataclass(frozen=True)
class Answer:
    """What was found for one question.

    short: the answer in a sentence or two; parts: how it comes about, in the order of reading. numbers: name -> value,
    unrounded, all that sentences and tables show. commands: what to go on with; page: of docs/, to read on.
    """

    name: str
    question: str
    short: str
    parts: tuple[Part, ...]
    numbers: Mapping[str, float]
    commands: tuple[str, ...]
    page: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; null for what is not finite."""
        words = {name: getattr(self, name) for name in ("name", "question", "short", "page")}
        plain: dict[str, Any] = finite(
            words
            | {"parts": [_plain(part) for part in self.parts], "commands": list(self.commands)}
            | {"numbers": dict(self.numbers)}
        )
        return plain


def num(x: float, digits: int = 3) -> str:
    """A number in a sentence."""
    return _signed(f"{x:.{digits}g}")


def fixed(x: float, places: int = 3) -> str:
    """A number in a column of its likes, with so many places; no minus before a zero."""
    text = f"{x:.{places}f}"
    return _signed(text if float(text) else f"{0:.{places}f}")


def percent(x: float) -> str:
    """A share."""
    return f"{100 * x:.0f} %"


def _signed(text: str) -> str:
    """With the sign of mathematics in front, where it is negative; powers keep theirs."""
    text = text.replace("inf", "∞")
    return "−" + text[1:] if text.startswith("-") else text


def _plain(part: Part) -> Any:
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, Formula):
        return {"formula": list(part.lines)}
    return {"head": list(part.head), "rows": [list(row) for row in part.rows]}
