"""Faults of the loop over time: what it carries, where it begins and ends, what it adds up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from math import prod

import numpy as np

from rnnbp.checking.diagnosis.hypotheses import Hypothesis, Suspects
from rnnbp.checking.diagnosis.tape import Change, Node
from rnnbp.checking.diagnosis.unrolled import Gradients
from rnnbp.checking.operands.space import bare
from rnnbp.numerics import HostArray

ROUND = [digit * 10.0**power for power in (-2, -1, 0, 1) for digit in (1, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)]


def carries(suspects: Suspects) -> Iterator[Hypothesis]:
    """The error of one state, or of all, does not go to the step before; that of the initial state may."""
    unrolled, names = suspects.unrolled, suspects.state_names
    for dropped in [*({n} for n in names), set(names)][: len(names) + (len(names) > 1)]:
        what = "the error of " + " and ".join(sorted(dropped))
        for first, where in ((1, "but for the first step"), (0, "at every step")):
            edges = {e: s for t in range(first, unrolled.time_steps) for e, s in unrolled.carries(t).items()}
            cut = _cut({e for e, state in edges.items() if state in dropped})
            yield suspects.swept("carry-dropped", f"{what}, {where}", "loop", cut)
        inside = {e for t in range(unrolled.time_steps) for e, s in unrolled.carries(t).items() if s in dropped}
        yield suspects.swept("carry-dropped", f"{what}, by the step itself", "step", _unreturned(inside))


def _cut(edges: Collection[int]) -> Change:
    """Nothing flows on from these nodes."""

    def change(node: Node, k: int, error: HostArray, share: HostArray) -> HostArray | None:
        del k, error
        return None if id(node) in edges else share

    return change


def _unreturned(states: Collection[int]) -> Change:
    """The step returns no error for these of its states; what passes by a masked step does."""

    def change(node: Node, k: int, error: HostArray, share: HostArray) -> HostArray | None:
        del error
        return None if node.step >= 0 and id(dict(node.sources)[k]) in states else share

    return change


def ends(suspects: Suspects) -> Iterator[Hypothesis]:
    """One step at either end of the sequence is left out."""
    unrolled, windows, (xs_name, *s0_names) = suspects.unrolled, suspects.windows, suspects.unrolled.names
    shares, rest = unrolled.by_step(windows)

    def first(state_lost: bool) -> Gradients:
        found = {n: np.sum(parts, axis=0) - parts[0] for n, parts in shares.items()}
        found[xs_name] = np.concatenate([np.zeros_like(rest[xs_name][:1]), rest[xs_name][1:]])
        swept = [unrolled.tape.sweep(unrolled.errors(w)) for w in windows if w.start == 0]
        for name, node in zip(s0_names, unrolled.entered[min(1, unrolled.time_steps - 1)], strict=True):
            waiting = sum((s[id(node)] for s in swept if id(node) in s), np.zeros(node.shape))  # before step 0
            found[name] = np.zeros(node.shape) if state_lost else waiting
        return found

    yield Hypothesis("first-step-skipped", "and the initial states' error is zero", "loop", partial(first, True))
    yield Hypothesis("first-step-skipped", "", "loop", partial(first, False))
    last = _cut({id(node) for node in (*unrolled.left[-1], unrolled.outputs[-1])})
    yield suspects.swept("last-step-skipped", "and the last states' error is lost", "loop", last)
    yield Hypothesis("last-step-skipped", "", "loop", partial(unrolled.gradients, windows, None, (), True))


def accumulation(suspects: Suspects) -> Iterator[Hypothesis]:
    """= where += belongs: of a parameter, or of all, one step's share is left, that of the first step or the last."""
    shares, _ = suspects.unrolled.by_step(suspects.windows)
    for names in [*([n] for n in shares), list(shares)]:
        for t, step in ((0, "t = 0"), (-1, "t = T−1")):
            detail = f"{', '.join(f'd{n}' for n in names)} of {step} alone"
            left = {n: shares[n][t] for n in names}
            yield Hypothesis("missing-accumulation", detail, "loop", partial(dict, left))


def forgotten(suspects: Suspects) -> Iterator[Hypothesis]:
    """Gradients that are not handed in or out: of the input, of initial states, of last states."""
    xs_name, *s0_names = suspects.unrolled.names

    def zero(names: Collection[str]) -> Mapping[str, HostArray]:
        return {n: np.zeros_like(suspects.right[n]) for n in names}

    yield Hypothesis("input-forgotten", f"d{xs_name}", "loop", partial(zero, [xs_name]))
    for names in [*([n] for n in s0_names), s0_names]:
        yield Hypothesis("initial-state-forgotten", ", ".join(f"d{n}" for n in names), "loop", partial(zero, names))
    states = list(suspects.state_names)
    for lost in [*([n] for n in states), states]:
        detail = " and ".join(f"d{n}_T" for n in lost)
        yield suspects.swept("last-state-forgotten", detail, "loop", None, lost)


def neighbours(suspects: Suspects) -> Iterator[Hypothesis]:
    """The gradient of what multiplies a state is made with the state after the step in place of the one before."""
    unrolled = suspects.unrolled
    after = {
        id(before): left.value
        for entered, lefts in zip(unrolled.entered, unrolled.left, strict=True)
        for before, left in zip(entered, lefts, strict=True)
    }

    def change(node: Node, k: int, error: HostArray, share: HostArray) -> HostArray:
        if node.name != "matmul" or k != 1:
            return share
        operand = node.args[0]
        factors = operand.args if operand.name == "multiply" else (operand,)  # (r ∘ h) U, (h ∘ m) U
        if not any(id(factor) in after for factor in factors):
            return share
        moved = prod((after.get(id(factor), bare(factor)) for factor in factors), start=np.ones(()))
        found: HostArray = np.swapaxes(moved, -1, -2) @ error
        return found if found.shape == share.shape else share

    yield suspects.swept("h-of-wrong-step", "", "loop", change)


def bounds(suspects: Suspects) -> Iterator[Hypothesis]:
    """The errors that the loop carries are cut to some round bound."""
    unrolled = suspects.unrolled
    edges = {e for t in range(1, unrolled.time_steps) for e in unrolled.carries(t)}

    def clip(bound: float) -> Change:
        def change(node: Node, k: int, error: HostArray, share: HostArray) -> HostArray:
            del k, error
            return np.clip(share, -bound, bound) if id(node) in edges else share

        return change

    for bound in ROUND:
        yield suspects.swept("clipped", f"the carried errors cut to ±{bound:g}", "loop", clip(bound))


FAMILIES = (carries, ends, accumulation, forgotten, neighbours, bounds)
