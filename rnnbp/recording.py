"""What `record=True` keeps: every gate, state and error of a scan, by name, over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rnnbp.errors import unknown
from rnnbp.numerics import Array, Namespace


class Record(Mapping[str, Array]):
    """name -> (..., T, B, N), a state of another shape (..., T, B, *shape). Filled by the forward, and anew with the
    errors by every backward.

    States carry their own names (the value after the step), the cell's internals those of its closure (i, f, g, t, …),
    pre-activations `a_<gate>`, or `a_<gate>_x` and `a_<gate>_h` for a split gate. At a masked step states stay as they
    were; its internals and pre-activations are what the cell computed there, to no effect.
    Errors: `d<state>` is all the error that reaches a state after the step from outside the step (so an LSTM's dc is
    without the part that comes through the h of the same step), `da_<gate>` that of a pre-activation; a plain cell has
    those that its backward returns in dp besides parameters.
    Steps that a backward does not reach have error zero.
    """

    def __init__(self, xp: Namespace, time_steps: int) -> None:
        self._xp, self._time_steps = xp, time_steps
        self._forward: dict[str, dict[int, Array]] = {}
        self._errors: dict[str, dict[int, Array]] = {}
        self._trailing: dict[str, int] = {}  # the axes from B on

    def note(self, t: int, name: str, value: Array, trailing: int = 2) -> None:
        """Keep a value of the forward, with so many axes from B on."""
        self._forward.setdefault(name, {})[t] = value
        self._trailing[name] = trailing

    def note_error(self, t: int, name: str, value: Array, trailing: int = 2) -> None:
        """Keep an error of the present backward."""
        self._errors.setdefault(name, {})[t] = value
        self._trailing[name] = trailing

    def forget_errors(self) -> None:
        """A backward begins."""
        self._errors = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._forward and name not in self._errors:
            raise unknown("name in this record", name, self)
        steps = self._forward[name] if name in self._forward else self._errors[name]
        zero = self._xp.zeros_like(next(iter(steps.values())))
        return self._xp.stack([steps.get(t, zero) for t in range(self._time_steps)], axis=-1 - self._trailing[name])

    def __iter__(self) -> Iterator[str]:
        return iter([*self._forward, *self._errors])

    def __len__(self) -> int:
        return len(self._forward) + len(self._errors)


def internals(step_backward: Callable[..., Any], batch: int) -> dict[str, Array]:
    """The arrays that a step's backward keeps, by the names that the cell gave them; those in a dictionary of the name
    `internals`, by the names that they have there.
    """
    kept = closure(step_backward)
    kept |= kept.pop("internals", {})
    shapes = {name: (v, getattr(v, "shape", None)) for name, v in kept.items()}
    return {name: v for name, (v, shape) in shapes.items() if isinstance(shape, tuple) and shape[-2:-1] == (batch,)}


def closure(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function keeps, by name; None for what was never assigned, as may depend on an option. A `back` among it
    is the backward of a cell within: what that keeps is here, too, unless the name is taken.
    """
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or cells is None:
        return {}
    own = dict(zip(code.co_freevars, map(_content, cells), strict=True))
    return {**closure(own["back"]), **own} if "back" in own else own


def _content(cell: Any) -> Any:
    """What a closure holds under a name; None if it was never assigned, as may depend on an option."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
