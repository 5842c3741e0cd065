"""A measurement of one layer, taken of each layer of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rnnbp.errors import UserError
from rnnbp.flow.measures.found import Line, Measured, Panel
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory


def by_layer(subject: Subject, measure: Callable[[Trajectory], Measured]) -> Measured:
    """What is found of the only layer; or of each, numbers and lines with the layer's prefix, in the same pictures.

    Layers that the measurement refuses are left out and said; where there is no other it is refused.
    """
    if len(subject.layers) == 1:
        return measure(next(iter(subject.layers.values())))
    found: dict[str, Measured] = {}
    refused: dict[str, str] = {}
    for prefix, path in subject.layers.items():
        try:
            found[prefix] = measure(path)
        except UserError as error:
            refused[prefix] = str(error)
    if not found:
        raise UserError("; ".join(dict.fromkeys(refused.values())))
    numbers = {prefix + name: x for prefix, one in found.items() for name, x in one.numbers.items()}
    notes = [note for one in found.values() for note in one.notes]
    notes += [f"{named(prefix)} is left out: {why}" for prefix, why in refused.items()]
    measured = next(iter(found.values())).measure
    return Measured(measured, numbers, tuple(_together(found)), tuple(dict.fromkeys(notes)))


def named(prefix: str) -> str:
    """What a sentence calls the layer of a prefix."""
    return f"Layer {prefix.rstrip('.')}"


def _together(found: Mapping[str, Measured]) -> list[Panel]:
    """One panel for each picture, of all layers."""
    pictures = dict.fromkeys(panel.picture for one in found.values() for panel in one.panels)
    panels = []
    for picture in pictures:
        parts = {prefix: panel for prefix, one in found.items() for panel in one.panels if panel.picture == picture}
        seen = " ".join(f"{named(prefix)}: {panel.seen}" for prefix, panel in parts.items())
        panels.append(Panel(picture, seen, tuple(_line(p, line) for p, panel in parts.items() for line in panel.lines)))
    return panels


def _line(prefix: str, line: Line) -> Line:
    return replace(line, label=prefix + line.label)
