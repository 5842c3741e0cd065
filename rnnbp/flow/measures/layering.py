"""A measurement of one layer, taken of each layer of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rnnbp.errors import UserError
from rnnbp.flow.measures.found import Line, Measured, Panel, Picture
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory


def by_layer(subject: Subject, pictures: Mapping[str, Picture], measure: Callable[[Trajectory], Measured]) -> Measured:
    """What is found of the only layer; or of each, numbers with the layer's prefix.

    Each has its own panel of a picture that is not drawn together; else the lines, with the prefix, share one. Layers
    that the measurement refuses are left out and said; where there is no other it is refused.
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
    notes += [f"{named(prefix).capitalize()} is left out: {why}" for prefix, why in refused.items()]
    panels: list[Panel] = []
    for picture in dict.fromkeys(panel.picture for one in found.values() for panel in one.panels):
        parts = {prefix: panel for prefix, one in found.items() for panel in one.panels if panel.picture == picture}
        panels += [_shared(parts)] if pictures[picture].together else _apart(parts)
    return Measured(next(iter(found.values())).measure, numbers, tuple(panels), tuple(dict.fromkeys(notes)))


def named(prefix: str) -> str:
    """What the layer of a prefix is called."""
    return f"layer {prefix.rstrip('.')}"


def _apart(parts: Mapping[str, Panel]) -> list[Panel]:
    return [replace(panel, part=named(prefix)) for prefix, panel in parts.items()]


def _shared(parts: Mapping[str, Panel]) -> Panel:
    """One panel of all layers."""
    seen = " ".join(f"{named(prefix).capitalize()}: {panel.seen}" for prefix, panel in parts.items())
    lines: list[Line] = []
    for prefix, panel in parts.items():
        lines += [replace(line, label=prefix + line.label) for line in panel.lines]
    return Panel(next(iter(parts.values())).picture, seen, tuple(lines))
