"""`rnnbp.checking.parity`: every cell on every backend, beside the first of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.catalogue import builtin_specs
from rnnbp.checking.cells import named
from rnnbp.checking.methods.tolerances import DTYPES
from rnnbp.checking.metric import compare
from rnnbp.checking.parities.choice import choose, label
from rnnbp.checking.parities.quantities import Task, draw_task, quantities, sizes
from rnnbp.checking.parities.report import Agreement, ParityReport, tolerance
from rnnbp.checking.subjects.sequences import mask_is_refused
from rnnbp.checking.verdicts import Progress, check_counts, setting
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray


def parity(
    cells: Iterable[Cell | str] | None = None,
    *,
    backends: Sequence[Backend | str] | None = None,
    dtypes: Sequence[str] = DTYPES,
    seed: int = 0,
    tolerant: bool = False,
    progress: Progress | None = None,
) -> ParityReport:
    """Forward, losses and every gradient of each cell on each backend, compared with the first backend's.

    cells: cells, or NAME[:option=value,…]; default: the built-in ones. What is compared, see `parities.quantities`.
    backends: NAME, NAME:DEVICE or backends; default: all that are available here, the default one first.
    dtypes: in each, all backends get the same numbers, and each result must have that dtype.
    tolerant: a cell that cannot be made is a failure with the reason, and the others go on. A cell that cannot be run
    on a backend always is one.
    progress: is called with the cell's name and how many of how many backends and dtypes are done.

    The sizes are fixed, T = 5, B = 3, I = 4, H = 6: over long sequences a right Elman cell amplifies roundings (210 eps
    at T = 50, H = 16 in 20 seeds; 6800 eps where identity lets it grow), and no one tolerance would be right.
    """
    check_counts(0, seed=seed)
    limits = tuple((dtype, tolerance(dtype)) for dtype in dtypes)
    chosen = choose(backends, dtypes)
    checks: list[Agreement] = []
    for cell in builtin_specs() if cells is None else cells:
        try:
            name, made = named(cell, input_size=None, hidden_size=None)
        except UserError as error:
            if not tolerant:
                raise
            checks += [unable(str(cell), dtype, b, str(error)) for dtype in dtypes for b in chosen[1:]]
            continue
        total = len(dtypes) * (len(chosen) - 1)
        for done, found in enumerate(_of_cell(name, made, chosen, dtypes, seed), start=1):
            checks += found
            if progress is not None:
                progress(name, done, total)
    return ParityReport(tuple(checks), tuple((label(b), b.version() or "") for b in chosen), seed, limits)


def _of_cell(
    name: str, cell: Cell, backends: Sequence[Backend], dtypes: Sequence[str], seed: int
) -> Iterator[list[Agreement]]:
    """The checks of one cell, dtype by dtype and backend by backend."""
    for dtype in dtypes:
        wanted: dict[str, HostArray] | str
        try:
            task = _task(cell, backends, dtype, seed)
            wanted = {n: backends[0].to_numpy(a) for n, a in quantities(task, backends[0], dtype).items()}
            usual = sizes(task, backends[0], dtype)
        except Exception as error:  # whatever a cell raises is a finding, here and below
            wanted = f"on the reference, {type(error).__name__}: {error}"
        for backend in backends[1:]:
            if isinstance(wanted, str):
                yield [unable(name, dtype, backend, wanted)]
                continue
            try:
                found = quantities(task, backend, dtype)
                yield [
                    _agreement(name, dtype, backend, n, found.get(n), value, usual.get(n, 0.0))
                    for n, value in wanted.items()
                ]
            except Exception as error:
                yield [unable(name, dtype, backend, f"{type(error).__name__}: {error}")]


def _task(cell: Cell, backends: Sequence[Backend], dtype: str, seed: int) -> Task:
    """The task for all backends: padded, unless the faster scan of one takes no mask and would go uncompared."""
    task = draw_task(cell, seed, dtype)

    def refuses(backend: Backend) -> bool:
        try:
            return mask_is_refused(task.problem, setting(backend, dtype, "complex-step", "full"))
        except Exception:
            return False  # it raises again where it is that backend's finding

    if any(map(refuses, backends)):
        return replace(task, problem=replace(task.problem, mask=None))
    return task


def _agreement(
    cell: str, dtype: str, backend: Backend, tensor: str, found: Array, wanted: HostArray, usual: float
) -> Agreement:
    """One tensor, beside the reference's; a single number's error is in units of its usual size."""
    blank = unable(cell, dtype, backend, "", tensor)
    if found.dtype != getattr(backend.xp, dtype):
        return replace(blank, note=f"its dtype is {found.dtype}, not {dtype}")
    here = backend.to_numpy(found)
    if here.shape != wanted.shape:
        return replace(blank, note=f"its shape is {here.shape}, the reference's {wanted.shape}")
    d, size = compare(here, wanted), float(np.linalg.norm(wanted))
    share = size / usual if wanted.size == 1 and 0 < size < usual else 1.0  # many entries do not all cancel
    measured = replace(blank, error=d.error * share, norm_error=d.norm * share, max_error=d.maximum * share)
    return replace(measured, shape=here.shape, index=d.index, value=d.analytic, reference=d.numeric)


def unable(cell: str, dtype: str, backend: Backend, why: str, tensor: str = "–") -> Agreement:
    """A check without numbers, which has failed."""
    return Agreement(cell, dtype, label(backend), tensor, tolerance(dtype).value, note=" ".join(why.split()))
