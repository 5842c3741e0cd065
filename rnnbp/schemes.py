"""Schemes of initialisation, as data: which parameters, kinds of them and gates are drawn how, in any cell.

    rnnbp.drawn(cell, "orthogonal,b.f=1", rng)        # a cell, a Stack or a Model -> params, host arrays by name

A scheme is a list of words, most general first whatever their order; what no word names stays as `init` draws it.

SELECTOR=HOW    SELECTOR: `input` (matrices W…), `recurrent` (matrices U…), `bias` (vectors b…); a parameter, as `W`,
                `pi`, `readout.W`; or a gate's block of one, as `U.n`, `b.f`. HOW: a number, or one of `INITIALIZERS`.
SCHEME          one of `SCHEMES`: several such words by one name.
chrono:T_MAX    biases of the gates in `Cell.memory_gates`: those that keep a memory get log U(1, T_MAX − 1), those that
                let it go the negative of the same numbers (Tallec & Ollivier 2018).

Every block is drawn by itself, with the shape that it has: fan_out is one gate's, a gate's matrix is orthogonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from rnnbp.errors import UserError, unknown
from rnnbp.initializers import (
    Initializer,
    chrono,
    constant,
    glorot_uniform,
    identity,
    normal,
    orthogonal,
    torch_uniform,
    uniform,
)

# name -> what makes an initializer of the number behind it, and that number where none is given (None: one is needed)
INITIALIZERS: dict[str, tuple[Callable[[float], Initializer], float | None]] = {
    "glorot": (lambda _: glorot_uniform(), 1.0),
    "torch": (lambda _: torch_uniform(), 1.0),
    "orthogonal": (orthogonal, 1.0),
    "identity": (identity, 1.0),
    "normal": (normal, None),
    "uniform": (lambda limit: uniform(-limit, limit), None),
    "zeros": (lambda _: constant(0.0), 1.0),
}
PLAIN = ("glorot", "torch", "zeros")  # take no number

# name -> its words; a selector with a question mark may find nothing
SCHEMES = {
    "glorot": "input?=glorot,recurrent?=glorot",
    "orthogonal": "input?=glorot,recurrent=orthogonal",
    "torch": "input?=torch,recurrent?=torch,bias?=torch",
    "irnn": "input=normal:0.001,recurrent=identity,bias?=zeros",
}


@dataclass(frozen=True)
class Scheme:
    """Selectors with what draws them, and T_max where gate biases are drawn for a span of time."""

    rules: tuple[tuple[str, Initializer], ...] = ()
    t_max: float | None = None


def parse(text: str) -> Scheme:
    """`orthogonal,b.f=1` -> a scheme; a word that means nothing is a UserError."""
    rules: list[tuple[str, Initializer]] = []
    t_max = None
    for word in text.split(","):
        selector, equals, how = (part.strip() for part in word.partition("="))
        name, _, number = selector.partition(":")
        if equals and selector:
            rules.append((selector, _initializer(how)))
        elif name == "chrono":
            t_max = _number(number, "chrono needs T_MAX, as in chrono:100")
            chrono(t_max)  # says what it takes
        elif selector in SCHEMES:
            rules += parse(SCHEMES[selector]).rules
        else:
            known = [*SCHEMES, "chrono:T_MAX", "SELECTOR=HOW"]
            raise unknown("scheme of initialisation", selector, known)
    return Scheme(tuple(rules), t_max)


def _initializer(how: str) -> Initializer:
    """`0.5`, `orthogonal` or `normal:0.1`."""
    try:
        return constant(_number(how, ""))
    except UserError:
        name, colon, number = how.partition(":")
    if name not in INITIALIZERS:
        raise unknown("initialisation", name, [*INITIALIZERS, "a number"])
    make, default = INITIALIZERS[name]
    if colon and name in PLAIN:
        raise UserError(f"initialisation {name} takes no number; got {how!r}")
    if not colon and default is not None:
        return make(default)
    rule = f"initialisation {name} needs a number above 0, as in {name}:0.1"
    value = _number(number, rule)
    if value <= 0:
        raise UserError(f"{rule}; got {number!r}")
    return make(value)


def _number(text: str, rule: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise UserError(f"{rule}; got {text!r}")
    return value
