"""The bench itself: draw, check against the peer, time in turn, measure memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime

import numpy as np

from rnnbp.backends import Backend
from rnnbp.benching.contenders import FORWARD, PASSES, Contender, ours, portable
from rnnbp.benching.machine import machine
from rnnbp.benching.memory import Question, peak_of
from rnnbp.benching.peers import PEERS, device_beside, like_with_like
from rnnbp.benching.plans import Plan, Size
from rnnbp.benching.problems import Problem, draw
from rnnbp.benching.reports import Case, Measured, Report
from rnnbp.benching.timing import Call, Clock, alternate, gemm
from rnnbp.numerics import HostArray
from rnnbp.registry import cell as make_cell


class Mismatch(ArithmeticError):
    """The contenders computed different things, so their times must not be compared."""


def bench(plan: Plan, progress: Callable[[str, int, int], None] = lambda *_: None) -> Report:
    """Time every case of a plan. `progress(what, done, total)` is told of each round.

    Raises `Mismatch` where our outputs or gradients differ from the peer's.
    """
    work = [(b, spec, size) for b in plan.backends for spec in plan.cells for size in plan.sizes]
    for _, spec, size in work:
        make_cell(spec, size.input_size, size.hidden_size)  # a mistake in the last cell shows before the first is timed
    library = PEERS[plan.against].library if plan.against != "none" else None
    if library:
        for b in plan.backends:
            device_beside(b, library)  # so does a peer that is not installed
    torch_runs = "torch" in (library, *(b.name for b in plan.backends))
    cases: list[Case] = []
    done, total = 0, len(work) * (plan.repeats + 1)
    with like_with_like(plan.threads) if torch_runs else nullcontext():
        for backend, spec, size in work:
            what = f"{backend.name} {spec} {size}"

            def tick(what: str = what) -> None:
                nonlocal done
                done += 1
                progress(what, done, total)

            progress(what, done, total)
            cases.append(time_case(plan, backend, spec, size, tick))
    return Report(plan, tuple(cases), datetime.now(UTC).isoformat(timespec="seconds"), machine())


def time_case(plan: Plan, backend: Backend, spec: str, size: Size, tick: Callable[[], None]) -> Case:
    """One cell at one size on one backend."""
    problem = draw(spec, size, plan.dtype, plan.seed)
    we = ours(problem, portable(backend) if plan.path else backend)
    peer, note = peer_of(plan, problem, backend)
    difference = compare(we, peer, problem.tolerance, f"{spec} {size}") if peer else None
    gemm_size, product = gemm(backend, plan.dtype)
    calls: dict[str, tuple[Clock, Call]] = {"gemm": (backend.seconds, product)}
    for who in filter(None, (we, peer)):
        clock = who.clock or who.backend.seconds
        calls |= {f"{who.name} {which}": (clock, who.calls[which]) for which in PASSES}
    timings = alternate(calls, plan.repeats, tick)

    def measured(who: Contender) -> Measured:
        place = (who.backend.name, who.backend.device)
        whose = plan.against if who is peer else None
        asked = Question(whose, *place, spec, size, plan.dtype, plan.threads, plan.seed, plan.path)
        peak = peak_of(asked) if plan.memory else None
        return Measured(who.name, {which: timings[f"{who.name} {which}"] for which in PASSES}, peak)

    found = Case(
        cell=spec,
        size=size,
        backend=backend.name,
        device=backend.device or backend.devices()[0],
        path=we.path,
        flops=problem.flops,
        gemm_size=gemm_size,
        gemm=timings["gemm"],
        ours=measured(we),
        peer=measured(peer) if peer else None,
        note=note,
        difference=difference,
        tolerance=problem.tolerance,
    )
    tick()
    return found


def peer_of(plan: Plan, problem: Problem, backend: Backend) -> tuple[Contender | None, str]:
    """The peer of a problem, or None and why there is none."""
    if plan.against == "none":
        return None, ""
    kind = PEERS[plan.against]
    note = kind.lacks(problem.cell)
    return (None, note) if note else (kind.make(problem, device_beside(backend, kind.library)), "")


def compare(we: Contender, peer: Contender, tolerance: float, what: str) -> float:
    """The largest difference over all tensors, relative to the peer's largest entry; above tolerance a Mismatch.

    The forward alone may be other code than the one that a backward follows, so it is compared as well.
    """
    mine, theirs = (who.answers() | {"Y of forward alone": _forward(who)} for who in (we, peer))
    errors = {name: _difference(mine[name], theirs[name]) for name in theirs}
    worst = max(errors, key=lambda name: (np.isnan(errors[name]), errors[name]))
    if mine.keys() != theirs.keys() or not errors[worst] <= tolerance:
        told = f"{worst} of {what} differs by {errors[worst]:.2e} of its largest entry, more than {tolerance:.2e}"
        raise Mismatch(f"{we.name} and {peer.name} disagree: {told}: their times are not comparable")
    return errors[worst]


def _forward(who: Contender) -> HostArray:
    return who.backend.to_numpy(who.calls[FORWARD]()[0])


def _difference(a: HostArray, b: HostArray) -> float:
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b))) if a.shape == b.shape else float("nan")
