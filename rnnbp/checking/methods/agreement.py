"""How far all methods are from complex steps, on one cell: each is an independent witness of the others."""

from __future__ import annotations

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.kinks.crossings import uncrossed
from rnnbp.checking.methods.autodiff import ENGINES
from rnnbp.checking.methods.directions import DIRECTIONS, sampled
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.checking.metric import compare
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import setting
from rnnbp.numerics import HostArray
from rnnbp.registry import BACKENDS
from rnnbp.truncation import parse

REFERENCE = "complex-step"
BACKWARD, DIRECTIONAL = "backward", "directional"  # the hand-written one; tangents along random directions
COLUMNS = (BACKWARD, *(name for name in METHODS if name not in (REFERENCE, "autodiff")), DIRECTIONAL)
MEMORY = 2**30  # bytes: for rtrl and the Hessian, whose matrices are kept


def agreement(
    name: str, cell: Cell, backend: Backend, *, seed: int = 0, time_steps: int = 5, batch: int = 3, jax: bool = True
) -> dict[str, float]:
    """The worst difference of each of `COLUMNS` from complex steps over all tensors of a random problem, in float64.

    For methods that give no gradient: |slope − 2| of the remainder with the gradient of complex steps, and the
    asymmetry of the backward's Hessian. The problem is one where no difference steps across a kink. Where a library
    for autodiff is not installed, or a method refuses the cell, its column is missing. jax: with JAX, which compiles
    for every new shape.
    """
    how = setting(backend, "float64", "five-point", "full")

    def subject(seed: int) -> Subject:
        return sequence_subject(name, draw(cell, time_steps, batch, seed), parse("full", time_steps), how)

    taken = subject(uncrossed(subject, seed, how, MEMORY)[0])

    def asked() -> Asked:
        return Asked(taken, backend, MEMORY, seed=seed)

    exact = METHODS[REFERENCE].gradients(asked())
    found = {BACKWARD: _worst(exact, taken.claimed(backend, "float64"))}
    for column in COLUMNS:
        if column in METHODS and _there(column, jax) and not METHODS[column].refuses(cell):
            method, question = METHODS[column], asked()
            if method.numeric:
                found[column] = _worst(exact, method.gradients(question))
            else:
                found[column] = max(method.judged(question, n, exact[n], ()).error for n in exact)
    tangent, question = METHODS["tangent"], asked()
    seeds = range(seed, seed + DIRECTIONS)
    limit = limit_of(DIRECTIONAL)
    along = (sampled(tangent, question, n, d, seeds, limit, taken.blocks.get(n, ())).error for n, d in exact.items())
    return found | {DIRECTIONAL: max(along)}


def limit_of(column: str) -> float:
    """How much is allowed: the tolerance of the method that the column shows."""
    stands_for = {BACKWARD: REFERENCE, DIRECTIONAL: "tangent"}
    return tolerance(stands_for.get(column, column), "float64").value


def _there(method: str, jax: bool) -> bool:
    """Whether what the method needs is installed, and wanted."""
    library = method.removeprefix("autodiff-")
    return library not in ENGINES or (BACKENDS.load(library).available() is None and (jax or library != "jax"))


def _worst(exact: dict[str, HostArray], other: dict[str, HostArray]) -> float:
    return max(compare(other[name], exact[name]).error for name in exact)
