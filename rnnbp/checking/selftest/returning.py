"""What a faulty backward does to its gradients once the loop is over, before it returns them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnbp.cellbase import State
from rnnbp.numerics import Array, Namespace, chunks

if TYPE_CHECKING:
    from rnnbp.checking.selftest.planting import FaultyCell

ENTRY_LIMIT = 0.5  # of the fault "clipped:entries": it must bite on a small problem, as 5 does in a long training run


def what_is_returned(
    xp: Namespace, cell: FaultyCell, dp: dict[str, Array], dxs: Array, ds: State, steps: int, batch: int
) -> tuple[dict[str, Array], Array, State]:
    """The gradients as they are returned, each fault in turn."""
    if cell.has("clipped:norm"):
        dp = normalised(xp, cell, dp)
    if cell.has("clipped:entries"):
        dp = {name: clipped(xp, d, ENTRY_LIMIT) for name, d in dp.items()}
    if cell.has("transposed:W"):
        dp = {**dp, "W": xp.matrix_transpose(dp["W"])}
    if cell.has("transposed:U"):
        blocks = [xp.matrix_transpose(block) for block in chunks(dp["U"], len(cell.gates))]
        dp = {**dp, "U": xp.concat(blocks, axis=-1)}
    if cell.has("input-forgotten"):
        dxs = xp.zeros_like(dxs)
    ds = cell.zeroed(xp, "initial-state-forgotten", ds)

    everything = 1.0
    if cell.has("factor:1/T"):
        everything = everything / steps
    if cell.has("factor:1/B"):
        everything = everything / batch
    if cell.has("sign:all"):
        everything = -everything
    if cell.has("all-zero:all"):
        everything = 0.0
    of_u = 1.0
    if cell.has("factor:2 of U"):
        of_u = 2.0
    if cell.has("sign:U"):
        of_u = -of_u
    if cell.has("all-zero:U"):
        of_u = 0.0
    dp = {name: everything * (of_u * d if name == "U" else d) for name, d in dp.items()}
    return dp, everything * dxs, tuple(everything * d for d in ds)


def clipped(xp: Namespace, d: Array, limit: float) -> Array:
    """The entries held between −limit and limit; the branch looks at the real part only."""
    top = limit * xp.ones_like(d)
    return xp.where(xp.real(d) > limit, top, xp.where(xp.real(d) < -limit, -top, d))


def normalised(xp: Namespace, cell: FaultyCell, dp: dict[str, Array]) -> dict[str, Array]:
    """All parameters' gradients divided by their common norm."""
    axes = {name: len(spec.shape) for name, spec in cell.params.items()}
    squares = sum(xp.sum(d * d, axis=tuple(range(-axes[name], 0))) for name, d in dp.items())
    norm = xp.sqrt(squares)
    return {name: d / xp.reshape(norm, (*norm.shape, *[1] * axes[name])) for name, d in dp.items()}
