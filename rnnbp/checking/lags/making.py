"""The lag tables of a cell on a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.checking.distances import check_against
from rnnbp.checking.lags.analytic import Blocks, analytic_blocks
from rnnbp.checking.lags.numeric import numeric_blocks, role, used
from rnnbp.checking.lags.numeric import tensors as tensors_of
from rnnbp.checking.lags.probes import Probes, probes
from rnnbp.checking.lags.table import LagTable
from rnnbp.checking.lags.tangents import tangent_blocks
from rnnbp.checking.methods.differences import STENCILS
from rnnbp.checking.methods.numeric import MEMORY
from rnnbp.checking.methods.tangents import Tangents
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.checking.report import Check
from rnnbp.checking.subjects.decayed import defining
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import Progress, Setting
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window, full, parse

# Differences of windows are right to rounding: T steps of some products each, in units of epsilon and of the norms that
# were subtracted. The largest of right cells is 13 ε at T = 5 and 32 ε at T = 12 (20 problems each).
ROUNDINGS_PER_STEP = 20
LOOP_PRODUCTS = 1e4  # of the time that one step of the loop takes
UNASKED_PRODUCTS = 2e8  # about a second; a larger table is only made where it is asked for


def lag_tables(
    name: str,
    problem: Problem,
    how: Setting,
    tensors: Sequence[str] | None = None,
    *,
    against: str = "claim",
    memory: int = MEMORY,
    uncut: Cell | None = None,
    progress: Progress | None = None,
) -> tuple[LagTable, ...]:
    """The table of every tensor, or of those named, for a cell on a problem, the cell being called `name`.

    With `against` "full" the numeric side is not truncated, so that the blocks that truncation throws away are the
    wrong ones; it is that of cell `uncut`, where the truncation stopped something inside the problem's. A tensor of
    more than 2000 entries (or where `how.extent` says so) is measured along random ±1 directions of each gate, one for
    each of `how.seeds`. A tensor whose gradient is missing or of another shape has no table. Difference methods and
    tangents are used as such, every other method means complex
    steps. progress: is called with the name and how many of how many rows of the analytic side, and tables, are done.
    """
    parts = parse(how.truncation, len(problem.xs))
    chosen: dict[str, Probes] = {}
    for tensor in tensors_of(problem) if tensors is None else tensors:
        chosen[tensor] = _probes(problem, tensor, how)
    done, total = 0, len(problem.xs) + 1 + len(chosen)

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(f"{name}: lags", done, total)

    found = analytic_blocks(problem, parts, how, chosen, advance)
    held = full(len(problem.xs)) if check_against(against) == "full" else parts
    judge = replace(problem, cell=defining(uncut if uncut and against == "full" else problem.cell, held))
    tables: list[LagTable] = []
    for tensor, probed in chosen.items():
        if tensor in found:
            tables.append(_table(name, judge, held, how, tensor, probed, found[tensor], memory))
        advance()
    return tuple(tables)


def _probes(problem: Problem, tensor: str, how: Setting) -> Probes:
    shape, gates = used(problem, tensor)[0].shape, problem.cell.blocks.get(tensor, ())
    return probes(tensor, shape, gates, how.seeds, how.extent)


def _table(
    name: str,
    problem: Problem,
    windows: Sequence[Window],
    how: Setting,
    tensor: str,
    probed: Probes,
    side: Blocks,
    memory: int,
) -> LagTable:
    method = how.method if how.method in (*STENCILS, Tangents.name) else "complex-step"
    if method == Tangents.name:
        blocks = tangent_blocks(problem, how.backend, tensor, windows=windows, probes=probed, memory=memory)
    else:
        words: dict[str, Any] = {"windows": windows, "method": method, "probes": probed, "memory": memory}
        blocks = numeric_blocks(problem, how.backend, tensor, **words)
    kind, ending = role(problem, tensor), probed.ending
    gradient = side.gradient.reshape((*side.gradient.shape[:1], *ending) if kind == "inputs" else ending)
    analytic, rounding = side.values.reshape(blocks.shape), _rounding(side, len(problem.xs), how, method)
    limit = tolerance(method, how.dtype).value
    directions = 0 if probed.drawn is None else probed.count
    said = (limit, method, how.truncation, directions)
    return LagTable(name, tensor, kind, blocks, analytic, gradient, probed.groups, rounding, *said)


def _rounding(side: Blocks, time_steps: int, how: Setting, method: str) -> dict[str, HostArray]:
    """The differences that rounding makes, for each gate and block, whose factors may have come of cancellation: the
    derivative y (1 − y) of a saturated gate is as wrong as 1 is rounded, however small it is. So a block is judged
    beside the gate's largest.
    """
    each = ROUNDINGS_PER_STEP * time_steps * float(np.finfo(how.dtype).eps)
    floors = {g: each * np.max(s, where=np.isfinite(s), initial=0.0) for g, s in side.scales.items()}
    # a difference is less exact than a vanishing block is small: it is judged beside the largest of its row
    less = tolerance(method, how.dtype).value if method in STENCILS else 0.0
    return {g: floors[g] + less * np.max(s, axis=1, keepdims=True) + 0.0 * s for g, s in side.scales.items()}


def products(problem: Problem, tensor: str, how: Setting) -> float:
    """Roughly how many products a table takes: T² backwards of T / 2 steps, and T² / 2 complex steps for each copy.

    What the loop itself takes for a step back stands for so many products, too.
    """
    time_steps, batch, _ = problem.xs.shape
    each = batch * sum(value.size for value in problem.params.values())
    copies = _probes(problem, tensor, how).count
    return float(time_steps**2 * (time_steps / 2 * (LOOP_PRODUCTS + each) + 2 * each * copies))


def lag_findings(
    name: str,
    problem: Problem,
    how: Setting,
    checks: Sequence[Check],
    *,
    every: bool | None = None,
    against: str = "claim",
    memory: int = MEMORY,
    uncut: Cell | None = None,
    progress: Progress | None = None,
) -> tuple[LagTable, ...]:
    """What a gradient check adds: the tables of `every` tensor (True), none (False), or (None) that of the tensor that
    failed worst over the sequence, where it takes about a second at most.
    """
    if every is False:
        return ()
    # where another method had to take the place of the one asked for, it takes it here, too
    taken = next((c.method for c in checks if c.level == "sequence" and c.method != how.method), how.method)
    how = replace(how, method=taken)
    words: dict[str, Any] = {"against": against, "memory": memory, "uncut": uncut}
    if every:
        return lag_tables(name, problem, how, progress=progress, **words)
    failed = [check for check in checks if check.level == "sequence" and not check.passed and not check.misfit]
    if not failed:
        return ()
    worst = max(failed, key=lambda check: check.badness).tensor
    if products(problem, worst, how) > UNASKED_PRODUCTS:
        return ()
    try:
        return lag_tables(name, problem, how, [worst], **words)
    except Exception:  # a backward that is wrong may refuse windows: it has failed, and is reported, without a table
        return ()
