"""What was measured, of all subjects, in the order asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnbp.checking.report import finite
from rnnbp.errors import UserError, unknown
from rnnbp.flow.measures import DEFAULT, MEASURES, PICTURES
from rnnbp.flow.measures.found import Measured, Panel, Picture
from rnnbp.flow.subjects import Subject

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Report:
    """found: subject's label -> measurement -> what it found. Labels are in the order of the subjects. about: label ->
    where its batch comes from, and its sizes.
    """

    title: str
    found: Mapping[str, Mapping[str, Measured]]
    about: Mapping[str, str] = field(default_factory=dict)

    def panels(self, picture: str) -> dict[str, Panel]:
        """Subject, or "subject, part" -> its part of a picture, of those that have one; `owner` tells whose it is."""
        parts = {
            f"{label}, {panel.part}" if panel.part else label: panel
            for label, one in self.found.items()
            for m in one.values()
            for panel in m.panels
            if panel.picture == picture
        }
        return parts

    @property
    def pictures(self) -> list[str]:
        """The pictures that some subject has a part of, in the order of `PICTURES`."""
        return [name for name in PICTURES if self.panels(name)]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with every curve, and what the pictures mean; null for what is not finite."""
        found: dict[str, Any] = finite(
            {
                "title": self.title,
                "about": dict(self.about),
                "pictures": {name: _meaning(PICTURES[name]) for name in self.pictures},
                "subjects": {label: {name: _plain(m) for name, m in one.items()} for label, one in self.found.items()},
            }
        )
        return found


def owner(name: str, labels: Iterable[str]) -> str:
    """The subject whose panel goes by that name in `Report.panels`."""
    return max((label for label in labels if name == label or name.startswith(f"{label}, ")), key=len)


def measure(
    subjects: Sequence[Subject], measures: Sequence[str] = (), title: str = "", progress: Progress = lambda *_: None
) -> Report:
    """Each measurement of each subject; none named: those in `DEFAULT`. One that does not fit a subject says why."""
    for name in measures:
        if name not in MEASURES:
            raise unknown("measurement", name, MEASURES)
    labels = [subject.label for subject in subjects]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(
            f"flow takes subjects with labels that differ; got {', '.join(labels) or 'none'}: name each once"
        )
    wanted = list(measures or DEFAULT)
    found: dict[str, dict[str, Measured]] = {}
    for subject in subjects:
        found[subject.label] = {}
        for n, name in enumerate(wanted):
            progress(subject.label, n, len(wanted))
            try:
                with np.errstate(all="ignore"):  # what is not finite is seen in the numbers
                    found[subject.label][name] = MEASURES[name](subject)
            except UserError as error:
                found[subject.label][name] = Measured(name, refused=str(error))
        progress(subject.label, len(wanted), len(wanted))
    return Report(title, found, {subject.label: subject.about for subject in subjects})


def _meaning(picture: Picture) -> dict[str, Any]:
    axes = {"x": picture.x, "y": picture.y, "colour": picture.colour}
    found = {name: axis._asdict() for name, axis in axes.items() if axis is not None}
    return {"title": picture.title, "formula": picture.formula} | found


def _plain(m: Measured) -> dict[str, Any]:
    panels = [
        {
            "picture": p.picture,
            "seen": p.seen,
            "part": p.part,
            "lines": [{"label": line.label, "x": line.x.tolist(), "y": line.y.tolist()} for line in p.lines],
        }
        | ({} if p.image is None else {"image": p.image.tolist()})
        for p in m.panels
    ]
    return {"numbers": dict(m.numbers), "panels": panels, "notes": list(m.notes), "refused": m.refused or None}
