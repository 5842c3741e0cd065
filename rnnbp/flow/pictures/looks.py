"""How a picture is set: its size, and how lines are told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnbp.colours import LIGHT
from rnnbp.flow.measures.found import Panel
from rnnbp.flow.reports import owner

DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 3)))
MARKERS = "osD^vPX"  # one more than dashes, so that 42 lines differ
MARKED = 8  # at most so many markers on a line


@dataclass(frozen=True)
class Look:
    """width in inches, font in points; columns of panels; whether the picture carries its title."""

    width: float
    font: float
    columns: int
    titled: bool

    @property
    def letters(self) -> int:
        """How many letters of the font are as wide as the picture, about."""
        return int(self.width * 72 / (0.52 * self.font))

    def heights(self, rows: int, columns: int) -> float:
        """The height of rows of panels in inches."""
        return rows * self.width * (0.62 if rows == columns == 1 else 0.55 if columns == 1 else 0.4)


PRINT = Look(6.5, 9.0, 2, True)  # the width of a page of text
SCREEN = Look(4.4, 10.0, 1, False)  # shown 343 pixels wide on a phone, a point is about a pixel


@dataclass(frozen=True)
class Style:
    """The colours of subjects, and the places of labels, which pick dash and marker: the same in a whole picture."""

    subjects: tuple[str, ...]
    labels: tuple[str, ...]

    def colour(self, subject: str) -> str:
        """By the subject's place in the report, so that it has one colour in every picture."""
        return LIGHT[self.subjects.index(owner(subject, self.subjects)) % len(LIGHT)]

    def marks(self, label: str, style: str) -> dict[str, Any]:
        """The dash and marker of a line, as matplotlib's `plot` takes them."""
        k = self.labels.index(label)
        marker = {} if style == "bars" else {"marker": MARKERS[k % len(MARKERS)], "markersize": 4}
        if style == "points":
            return {"linestyle": "none", **marker}
        dash = DASHES[max(k, 1) % len(DASHES)] if style == "dashed" else DASHES[k % len(DASHES)]
        return {"linestyle": dash, "linewidth": 1.1 if style == "dashed" else 1.5, **marker}


def style_of(subjects: tuple[str, ...], panels: Mapping[str, Panel]) -> Style:
    """What tells the lines of a picture apart."""
    return Style(subjects, tuple(dict.fromkeys(line.label for panel in panels.values() for line in panel.lines)))
