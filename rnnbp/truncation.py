"""Truncation is data: which errors flow back how far, and the kinds of it by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from rnnbp.cellbase import Cell
from rnnbp.errors import UserError, unknown
from rnnbp.pointwise import PointwiseCell


class _Steps(NamedTuple):
    start: int
    lo: int
    stop: int


class Window(_Steps):
    """Errors met at steps lo … stop−1 flow back to step `start` and no further, times `decay` at each step's entrance.

    The gradient of a window is d/dθ Σ_{lo ≤ t < stop} L_t with every state at the entrance of `start` held constant;
    with a decay L, each step that is not masked starts from L s + (1 − L) detach(s). It is a tuple of three, (start,
    lo, stop): who unpacks it need not know of a decay.
    """

    decay: float

    def __new__(cls, start: int, lo: int, stop: int, decay: float = 1.0) -> Window:
        window = super().__new__(cls, start, lo, stop)
        window.decay = decay
        return window

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.decay == getattr(other, "decay", 1.0)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((*self, self.decay)) if self.decay != 1 else super().__hash__()

    def __repr__(self) -> str:
        shown = f", decay={self.decay:g}" if self.decay != 1 else ""
        return f"Window(start={self.start}, lo={self.lo}, stop={self.stop}{shown})"


def full(time_steps: int, decay: float = 1.0) -> list[Window]:
    """Full backpropagation through time: one window over the whole sequence."""
    return [Window(0, 0, time_steps, decay)]


def tbptt(time_steps: int, k1: int, k2: int) -> list[Window]:
    """Truncated BPTT(k1, k2): every k1 steps the errors of these steps go back k2 steps (Williams & Peng 1990)."""
    if k1 < 1:
        raise UserError(f"truncation tbptt:K1,K2 needs K1 of at least 1; got {k1}")
    if k2 < k1:
        raise UserError(f"truncation tbptt:K1,K2 needs K2 >= K1, or errors would be dropped; got K1={k1}, K2={k2}")
    edges = [(lo, min(lo + k1, time_steps)) for lo in range(0, time_steps, k1)]
    return [Window(max(0, stop - k2), lo, stop) for lo, stop in edges]


def decay_of(windows: Sequence[Window]) -> float:
    """The decay that the windows of one truncation share."""
    found = {window.decay for window in windows}
    if len(found) != 1:
        raise UserError(f"the windows of one truncation share one decay; got {', '.join(map(str, sorted(found)))}")
    return found.pop()


@dataclass(frozen=True)
class Truncation:
    """A kind of truncation: the windows of a sequence, and what becomes of a cell.

    stopped: gates whose error does not flow back through U; None for all of them, as in 1997. peepholes: no error
    through them.
    """

    text: str = "full"
    steps: tuple[int, int] | None = None  # K1, K2
    decay: float = 1.0
    stopped: tuple[str, ...] | None = ()
    peepholes: bool = False

    @classmethod
    def parse(cls, text: str) -> Truncation:
        """A kind as typed, one of `KINDS`."""
        name, _, rest = text.partition(":")
        if text in ("full", "1997", "peepholes"):
            return cls(text, stopped=None if text == "1997" else (), peepholes=text == "peepholes")
        if name == "tbptt" and (match := re.fullmatch(r"(\d+),(\d+)", rest)):
            return cls(text, steps=(int(match[1]), int(match[2])))
        if name == "steps" and re.fullmatch(r"\d+", rest):
            if not int(rest):
                raise UserError("truncation steps:K needs K of at least 1; got 0")
            return cls(text, steps=(int(rest), int(rest)))
        if name == "decay" and (decay := _number(rest)) is not None:
            if not 0 < decay < 1:
                raise UserError(f"truncation decay:L needs L between 0 and 1; got {rest}")
            return cls(text, decay=decay)
        if name == "gates" and all(rest.split("+")):
            return cls(text, stopped=tuple(rest.split("+")))
        raise UserError(f"truncation must be {', '.join(KINDS[:-1])} or {KINDS[-1]}; got {text!r}")

    def __post_init__(self) -> None:
        if self.steps is not None:
            tbptt(1, *self.steps)

    def windows(self, time_steps: int) -> list[Window]:
        """The windows of a sequence of that length."""
        return full(time_steps, self.decay) if self.steps is None else tbptt(time_steps, *self.steps)

    def of(self, cell: Cell) -> Cell:
        """The cell, with what the kind stops inside of it; one in which that cannot be stopped is a UserError."""
        name, within = type(cell).__name__, getattr(cell, "cell", None)
        if self.stopped == () and not self.peepholes:
            return cell
        if isinstance(within, Cell):  # what goes around a cell leaves this to the cell
            return replace(cell, cell=self.of(within))  # type: ignore[call-arg]
        if self.peepholes:
            return self._without_peepholes(cell)
        if not isinstance(cell, PointwiseCell) or not cell.recurrent:
            why = "has no U" if isinstance(cell, PointwiseCell) else "is no PointwiseCell"
            raise UserError(f"truncation {self.text} stops gates of a pointwise cell at U; {name} {why}: use tbptt")
        for gate in self.stopped or ():
            if gate not in cell.gates:
                raise unknown(f"gate of {name}", gate, cell.gates)
        wanted = cell.gates if self.stopped is None else self.stopped
        more = {"peephole_error": False} if self.stopped is None and _has_peepholes(cell) else {}
        return replace(cell, stopped=tuple(g for g in cell.gates if g in {*wanted, *cell.stopped}), **more)

    def _without_peepholes(self, cell: Cell) -> Cell:
        if not _has_peepholes(cell):
            raise UserError(
                f"truncation peepholes stops the error through peepholes; {type(cell).__name__} has none such: "
                "use lstm:peepholes=true"
            )
        return replace(cell, peephole_error=False)  # type: ignore[call-arg]


def uncut(cell: Cell) -> Cell:
    """The cell with nothing stopped inside of it, where its options say what is: `stopped`, `peephole_error`."""
    own = {f.name: getattr(cell, f.name) for f in fields(cell) if f.init}
    free: dict[str, Any] = {"stopped": (), "peephole_error": True}
    if isinstance(own.get("cell"), Cell):
        free = {"cell": uncut(own["cell"])}
    made = replace(cell, **{name: value for name, value in free.items() if own.get(name, value) != value})
    if cut := getattr(made, "cut", ()):
        raise UserError(f"{type(cell).__name__} always cuts gate {cut[0]}: its whole gradient cannot be had from it")
    return made


KINDS = ("full", "tbptt:K1,K2", "steps:K", "decay:L", "1997", "gates:NAME+NAME", "peepholes")


def parse(text: str, time_steps: int) -> list[Window]:
    """The windows of a kind, as typed on the command line, for a sequence of that length."""
    return Truncation.parse(text).windows(time_steps)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _has_peepholes(cell: Cell) -> bool:
    """Whether the cell has peepholes, and the option that stops their error."""
    return "peephole_error" in {field.name for field in fields(cell)} and bool(getattr(cell, "peepholes", True))
