"""The self-test: every planted fault through the gradient check, alone and in pairs, and right cells beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.catalogue import builtin_specs
from rnnbp.checking.cells import check_gradients
from rnnbp.checking.diagnosis import Diagnosis
from rnnbp.checking.report import Report
from rnnbp.checking.selftest import candidates
from rnnbp.checking.selftest.results import Planted, SelfTest, Trial
from rnnbp.checking.verdicts import Progress, check_counts, setting

# a fault must show in the gradients: a property that is missed beside them does not count
TO_NAME: dict[str, Any] = {"properties": False, "lags": False}
TO_DETECT: dict[str, Any] = {**TO_NAME, "levels": ("sequence",), "diagnosis": False}
Name: TypeAlias = Callable[[Report], str | None]  # the bug that a report names, if it names one


def named_in(report: Report) -> str | None:
    """The bug that the report's diagnosis holds for the best explanation."""
    found = [finding.best for finding in report.findings if isinstance(finding, Diagnosis)]
    return found[0].bug if found and found[0] else None


def self_test(
    *,
    backend: Backend | str | None = None,
    problems: int = 20,
    most_pairs: int | None = 500,
    naming: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    name: Name = named_in,
) -> SelfTest:
    """Does the gradient check find faults, call them by their name, and leave right cells alone?

    Every catalogued bug is planted by hand in every cell where it changes a gradient, alone and in pairs: `gradcheck`
    must fail. Right cells, the built-in ones with their variants and the hand-written ones without a fault, must pass.

    problems: how many random problems each right cell is checked on, with seeds seed, seed + 1, …
    most_pairs: a random sample of at most so many pairs, drawn with the seed; None takes all, 0 none.
    naming: whether single faults must be named, too, which takes most of the time.
    progress: is called with what is being done, and how much of how much is.
    name: how a name is read from a report.
    """
    check_counts(problems=problems)
    check_counts(0, most_pairs=most_pairs, seed=seed)
    chosen = setting(backend, "float64", "complex-step", "full").backend
    heard = progress or (lambda _what, _done, _of: None)
    check = partial(_trial, backend=chosen, seed=seed)
    effective = partial(_split, backend=chosen, seed=seed)

    single, idle = effective([Planted(family, (fault,)) for family, fault in candidates.catalogue()])
    every_pair = [Planted(a.family, a.faults + b.faults) for a, b in combinations(single, 2) if a.family == b.family]
    pairs, idle_pairs = effective(_sample(every_pair, most_pairs, seed))
    right: dict[str, Cell | str] = {spec: spec for spec in builtin_specs()}
    right |= {f"hand-written {family}": candidates.specimen(family) for family in candidates.FAMILIES}
    runs = [(spec, cell, seed + k) for spec, cell in right.items() for k in range(problems)]
    return SelfTest(
        chosen.name,
        seed,
        (candidates.TIME_STEPS, candidates.BATCH, candidates.INPUT, candidates.HIDDEN),
        singles=tuple(check(planted, name if naming else None) for planted in _told("single faults", single, heard)),
        pairs=tuple(check(planted, None) for planted in _told("pairs of faults", pairs, heard)),
        all_pairs=len(every_pair),
        not_applicable=(*idle, *idle_pairs),
        right=tuple(right),
        problems=problems,
        alarms=tuple(
            f"{spec}, seed {k}"
            for spec, cell, k in _told("right cells", runs, heard)
            if not check_gradients(cell, backend=chosen, seed=k).passed
        ),
        naming=naming,
    )


def _split(planted: Sequence[Planted], backend: Backend, seed: int) -> tuple[list[Planted], list[Planted]]:
    """Those that change a gradient, and those that do not."""
    changes = [candidates.applies(each.family, *each.faults, seed=seed, backend=backend) for each in planted]
    yes, no = (
        [each for each, does in zip(planted, changes, strict=True) if does is wanted] for wanted in (True, False)
    )
    return yes, no


def _sample(planted: Sequence[Planted], most: int | None, seed: int) -> list[Planted]:
    """At most so many of them, drawn without repetition and kept in order."""
    if most is None or most >= len(planted):
        return list(planted)
    chosen = np.random.default_rng(seed).choice(len(planted), most, replace=False)
    return [planted[k] for k in sorted(chosen)]


def _told(what: str, items: Sequence[Any], progress: Progress) -> Iterator[Any]:
    """The items, with word of how many of them are done."""
    for k, item in enumerate(items):
        yield item
        progress(what, k + 1, len(items))


def _trial(planted: Planted, name: Name | None, backend: Backend, seed: int) -> Trial:
    """The gradient check of one faulty cell."""
    cell = candidates.specimen(planted.family, *planted.faults)
    how = TO_NAME if name else TO_DETECT
    t, b = candidates.TIME_STEPS, candidates.BATCH
    report = check_gradients(cell, backend=backend, seed=seed, time_steps=t, batch=b, **how)
    return Trial(planted, not report.passed, name(report) if name and not report.passed else None)
