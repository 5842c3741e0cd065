"""Faults that show in one tensor, or in all alike, whatever the cell: signs, factors, zeros, blocks exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import permutations

import numpy as np

from rnnbp.checking.diagnosis.hypotheses import Hypothesis, Suspects
from rnnbp.numerics import HostArray


def factors(suspects: Suspects) -> Iterator[Hypothesis]:
    """One number times the right gradient: of all tensors, of one, of one gate's block."""
    right, wrong = suspects.right, suspects.wrong

    def every(ratio: float) -> dict[str, HostArray]:
        return {n: ratio * right[n] for n in wrong}

    def one(name: str, ratio: float) -> dict[str, HostArray]:
        return {name: ratio * right[name]}

    def block(name: str, gates: int, k: int, ratio: float) -> dict[str, HostArray]:
        return {name: put(right[name], gates, {k: ratio * split(right[name], gates)[k]})}

    whole = [np.concatenate([g[n].ravel() for n in wrong]) for g in (right, wrong)]
    yield from _multiple(suspects, whole[0], whole[1], "all gradients", every)
    for name in wrong:
        yield from _multiple(suspects, right[name], wrong[name], f"d{name}", partial(one, name))
    for name, gates in suspects.blocks.items():
        parts = zip(gates, split(right[name], len(gates)), split(wrong[name], len(gates)), strict=True)
        for k, (gate, a, b) in enumerate(parts):
            yield from _multiple(suspects, a, b, f"d{name} of gate {gate}", partial(block, name, len(gates), k))


def _multiple(
    suspects: Suspects,
    right: HostArray,
    wrong: HostArray,
    what: str,
    scaled: Callable[[float], Mapping[str, HostArray]],
) -> Iterator[Hypothesis]:
    """The factor that fits best, with its meaning where it is a size of the problem; zero only for exact zeros."""
    size = float(np.sum(right * right))
    if not size or right.size < 2 or np.array_equal(right, wrong):  # one number is always a multiple of another
        return
    ratio = float(np.sum(right * wrong)) / size
    if ratio == 0 and np.any(wrong):
        return
    bug = "all-zero" if ratio == 0 else "sign" if abs(ratio + 1) < 1e-9 else "factor"
    known = [word for word, value in _sizes(suspects).items() if abs(ratio / value - 1) < 1e-9]
    detail = f"{what} × {known[0] if known else format(ratio, '.6g')}" if bug == "factor" else what
    yield Hypothesis(bug, detail, "", partial(scaled, ratio))


def _sizes(suspects: Suspects) -> dict[str, float]:
    problem = suspects.unrolled.problem
    steps, batch = problem.xs.shape[:2]
    rows = int(np.sum(problem.mask)) if problem.mask is not None else steps * batch
    sizes = {
        "2": 2,
        "T": steps,
        "B": batch,
        "T·B": steps * batch,
        "H": problem.cell.hidden_size,
        "unmasked steps": rows,
    }
    return {name: float(v) for name, v in sizes.items()} | {f"1/({name})": 1 / v for name, v in sizes.items()}


def turned(suspects: Suspects) -> Iterator[Hypothesis]:
    """A square matrix transposed, or each gate's square block."""
    for name, right in suspects.right.items():
        gates = len(suspects.blocks.get(name, ())) or 1
        if right.ndim == 2 and right.shape[0] * gates == right.shape[1]:
            parts = np.concatenate([part.T for part in split(right, gates)], axis=-1)
            detail = f"d{name}" if gates == 1 else f"each gate's block of d{name}"
            yield Hypothesis("transposed", detail, "", partial(dict, {name: parts}))


def biases(suspects: Suspects) -> Iterator[Hypothesis]:
    """The bias gradients of two gates exchanged, or one the copy of another's."""
    for name, gates in suspects.blocks.items():
        right = suspects.right[name]
        if right.ndim != 1:
            continue
        parts = split(right, len(gates))
        for k, j in permutations(range(len(gates)), 2):
            copied = {name: put(right, len(gates), {k: parts[j]})}
            detail = f"d{name} of gate {gates[k]} is that of gate {gates[j]}"
            yield Hypothesis("bias-copied", detail, "", partial(dict, copied))
            if k < j:
                swapped = {name: put(right, len(gates), {k: parts[j], j: parts[k]})}
                detail = f"d{name} of gates {gates[k]} and {gates[j]}"
                yield Hypothesis("bias-swapped", detail, "", partial(dict, swapped))


def clipped(suspects: Suspects) -> Iterator[Hypothesis]:
    """Every entry beyond a bound cut to it; every tensor scaled to norm 1; or all parameters to one norm together."""
    right, wrong = suspects.right, suspects.wrong
    params = [n for n in suspects.unrolled.problem.params if n in wrong]
    for names, whose in ((list(wrong), "entries"), (params, "the parameters' entries")):
        bound = max((float(np.max(np.abs(wrong[n]), initial=0)) for n in names), default=0.0)
        at_bound = sum(int(np.sum(np.abs(np.abs(wrong[n]) - bound) <= 1e-12 * bound)) for n in names)
        if at_bound > 1 and bound:
            cut = {n: np.clip(right[n], -bound, bound) for n in names}
            yield Hypothesis("clipped", f"{whose} cut to ±{bound:.6g}", "loop", partial(dict, cut))
    for names, whose in ((list(wrong), "all gradients"), (params, "the parameters' gradients")):
        unit = {n: right[n] / (np.linalg.norm(right[n]) or 1) for n in names}
        yield Hypothesis("clipped", f"{whose}, each scaled to norm 1", "loop", partial(dict, unit))
        total, kept = (float(np.sqrt(sum(np.sum(g[n] ** 2) for n in names))) for g in (right, wrong))
        if kept < total and abs(kept / float(f"{kept:.3g}" if kept else 1) - 1) < 1e-9:  # a bound is a round number
            scaled = {n: right[n] * kept / total for n in names}
            yield Hypothesis("clipped", f"{whose} scaled to norm {kept:.3g}", "loop", partial(dict, scaled))


def split(a: HostArray, n: int) -> list[HostArray]:
    """The blocks of the last axis."""
    return np.split(a, n, axis=-1)


def put(a: HostArray, n: int, parts: Mapping[int, HostArray]) -> HostArray:
    """The same with some blocks replaced."""
    return np.concatenate([parts.get(k, part) for k, part in enumerate(split(a, n))], axis=-1)


FAMILIES = (biases, clipped, turned, factors)
