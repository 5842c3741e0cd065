"""What can be measured of a subject: name -> function. Each module has the pictures that its curves belong to."""

from __future__ import annotations

from collections.abc import Callable

from rnnbp.flow.measures import lags
from rnnbp.flow.measures.found import Measured, Picture
from rnnbp.flow.subjects import Subject

MEASURES: dict[str, Callable[[Subject], Measured]] = {
    "lags": lags.measure,
}
PICTURES: dict[str, Picture] = {**lags.PICTURES}
