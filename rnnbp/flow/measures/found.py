"""What a measurement finds: numbers, and curves for pictures that need no plotting library to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rnnbp.numerics import HostArray


class Axis(NamedTuple):
    """What an axis shows, with its unit, and whether it is logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Picture:
    """What a picture means, whichever cell it is of: for a reader who knows the chain rule and nothing more.

    formula: in plain characters, as a docstring has it. together: curves of several subjects are drawn in one picture;
    otherwise each has its own, on the same scales, or with `own_scale` on a scale of y for itself. A heat map has a
    `colour`, too.
    """

    title: str
    formula: str
    x: Axis
    y: Axis
    colour: Axis | None = None
    together: bool = True
    own_scale: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """y over x, (n,) each, nan where there is nothing; `style` is line, dashed, points or bars.

    label: what the line is, without the subject: the same line of another subject has the same label.
    """

    label: str
    x: HostArray
    y: HostArray
    style: str = "line"


@dataclass(frozen=True, eq=False)
class Panel:
    """One subject's part of a picture: lines, or the cells (ny, nx) of a heat map, whose first is that of x = y = 1.

    picture: its name in `PICTURES`. seen: one sentence that says what is seen, with the subject's own numbers. part:
    which part of the subject, such as a layer, where each has a panel of its own.
    """

    picture: str
    seen: str
    lines: tuple[Line, ...] = ()
    image: HostArray | None = None
    part: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """What one measurement found of one subject.

    numbers: name -> value, the few that a summary shows and a training run can record. notes: what a reader must know,
    such as what was thinned out. refused: why the measurement is none of this cell's, where it is not.
    """

    measure: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str = ""
