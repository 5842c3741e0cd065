"""The faulty cells of the self-test: right without a fault, and wrong where the fault says with one."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import agree, frozen, gradients, problem, relative_error, tolerance

import rnnbp
import rnnbp.checking as checking
from rnnbp.checking.bugs import BUGS
from rnnbp.checking.selftest.candidates import FAMILIES, applies, catalogue, specimen
from rnnbp.unrolling import unroll

BUILT_IN = {
    "rnn": "rnn",
    "lstm": "lstm",
    "lstm, peepholes": "lstm:peepholes=true",
    "gru, reset after": "gru:reset=after",
    "gru, reset before": "gru:reset=before",
}
OF_LOOPS = {"all-zero", "sign", "factor", "transposed", "missing-accumulation", "first-step-skipped"}
OF_LOOPS |= {"last-step-skipped", "h-of-wrong-step", "carry-dropped", "initial-state-forgotten"}
OF_LOOPS |= {"last-state-forgotten", "input-forgotten", "clipped"}
PEEPHOLES = {"peephole-path-missing", "peephole-of-wrong-c"}
GATES = {
    "sigma-prime-missing",
    "sigma-prime-twice",
    "sigma-prime-of-activated",
    "gates-swapped",
    "bias-swapped",
    "bias-copied",
    "path-missing",
}
MEANINGLESS = {
    "rnn": GATES | PEEPHOLES | {"mask-missing"},
    "rnn, dropout": GATES | PEEPHOLES,
    "lstm": PEEPHOLES | {"mask-missing"},
    "lstm, peepholes": {"mask-missing"},
    "gru, reset after": PEEPHOLES | {"mask-missing"},
    "gru, reset before": PEEPHOLES | {"mask-missing"},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("truncation", ["full", "tbptt:1,1", "tbptt:2,3"])
def test_without_a_fault_a_cell_passes(family, truncation):
    report = rnnbp.gradcheck(specimen(family), truncation=truncation)
    assert report.passed, str(report)
    assert report.worst.error < 1e-13 and report.worst.tolerance <= 1e-10
    assert all(check.padded for check in report.checks if check.level == "sequence")  # its own loop takes the mask


@pytest.mark.parametrize("family", ["rnn, dropout", "lstm, peepholes", "gru, reset before"])
def test_without_a_fault_a_cell_passes_on_every_backend(family, backend):
    assert rnnbp.gradcheck(specimen(family), backend=backend, time_steps=3).passed


@pytest.mark.parametrize("family", BUILT_IN)
def test_without_a_fault_a_cell_is_the_built_in_one(family):
    mine = specimen(family)
    built_in = rnnbp.cell(BUILT_IN[family], mine.input_size, mine.hidden_size)
    assert {n: spec.shape for n, spec in mine.params.items()} == {n: s.shape for n, s in built_in.params.items()}
    assert mine.gates == getattr(built_in, "gates", ("r", "z", "n"))
    q, host = problem(mine), rnnbp.backend("numpy")
    agree(gradients(q, host), gradients(q._replace(cell=built_in), host))


def by_the_plain_loop(cell, q):
    """The gradients with the cell's own step and the library's loop."""
    rest = {"mask": None, "resets": None, "reverse": False, "record": False, "keep": True}
    xp = rnnbp.backend("numpy").xp
    _, _, backward = unroll(xp, cell, q.params, q.xs, q.s0, data=q.data, **rest)
    dp, dxs, ds = backward(q.dys, q.ds_T)
    return {**dp, "xs": dxs, **{f"s0.{n}": d for n, d in zip(cell.states, ds, strict=True)}}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fault_of_the_step_spoils_both_loops_alike_and_one_of_the_loop_only_its_own(family):
    host, right = rnnbp.backend("numpy"), problem(specimen(family))
    sound = gradients(right, host)
    for name, fault in catalogue():
        if name != family or not applies(family, fault):
            continue
        cell = specimen(family, fault)
        plain, own = by_the_plain_loop(cell, right), gradients(right._replace(cell=cell), host)
        if fault.partition(":")[0] in OF_LOOPS:
            agree(plain, sound)
        else:
            agree(own, plain)


def test_what_does_not_apply_is_known():
    """A fault that was forgotten in a cell would otherwise pass for one that has no meaning there."""
    idle: dict[str, set[str]] = {family: set() for family in FAMILIES}
    for family, fault in catalogue():
        if not applies(family, fault):
            idle[family].add(fault)
    assert idle == MEANINGLESS
    assert {fault.partition(":")[0] for _, fault in catalogue()} == set(BUGS)


# what a fault must spoil, and nothing else, for it makes no error that flows on
SPOILED = {
    ("rnn, dropout", "mask-missing:dU"): {"U"},
    ("lstm", "bias-swapped:i-f"): {"b"},
    ("lstm", "bias-copied:f-i"): {"b"},
    ("lstm", "transposed:U"): {"U"},
    ("lstm", "h-of-wrong-step"): {"U"},
    ("lstm", "missing-accumulation:U"): {"U"},
    ("lstm", "initial-state-forgotten:c"): {"s0.c"},
    ("lstm", "input-forgotten"): {"xs"},
    ("lstm", "clipped:norm"): {"W", "U", "b"},
    ("lstm, peepholes", "peephole-of-wrong-c:po"): {"po"},
    ("gru, reset before", "h-of-wrong-step"): {"U"},
}


@pytest.mark.parametrize(("family", "fault"), SPOILED)
def test_a_fault_spoils_what_it_should(family, fault):
    host, q = rnnbp.backend("numpy"), problem(specimen(family))
    right, wrong = gradients(q, host), gradients(q._replace(cell=specimen(family, fault)), host)
    spoiled = {name for name in right if relative_error(wrong[name], right[name]) > tolerance()}
    assert spoiled == SPOILED[family, fault]


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_on_a_leading_axis_go_through_the_loop_forward_and_back(family):
    q, host, rng = problem(specimen(family)), rnnbp.backend("numpy"), np.random.default_rng(1)
    for faults in ((), ("clipped:norm", "clipped:entries", "h-of-wrong-step", "transposed:U")):
        one = q._replace(cell=replace(q.cell, faults=faults))
        us = frozen(q.params["U"] + rng.standard_normal((2, *q.params["U"].shape)))
        copies = gradients(one._replace(params={**q.params, "U": us}), host)
        for k in range(2):
            alone = gradients(one._replace(params={**q.params, "U": us[k]}), host)
            agree({name: np.broadcast_to(d, (2, *alone[name].shape))[k] for name, d in copies.items()}, alone)


def test_what_the_loop_does_not_take_is_left_to_the_plain_one():
    q, host = problem(specimen("lstm", "sign:all")), rnnbp.backend("numpy")
    resets = np.zeros((5, 3), dtype=bool)
    agree(gradients(q, host, resets=resets), by_the_plain_loop(specimen("lstm"), q))


@pytest.mark.parametrize("fault", ["peepholes", "sigma-prime-missing", "sigma-prime-missing:g", "sign:W"])
def test_a_fault_that_the_cell_does_not_know_is_refused(fault):
    with pytest.raises(rnnbp.UserError, match="unknown fault of FaultyLSTM"):
        specimen("lstm", fault)


def test_a_fault_planted_twice_is_refused():
    with pytest.raises(rnnbp.UserError, match="planted once"):
        specimen("lstm", "sign:all", "sign:all")


def imported(path: Path) -> set[str]:
    """The modules that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
        names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
    return names


def test_the_cells_share_no_code_with_the_diagnosis():
    """Only the runner, which reads the names in reports, knows both."""
    folder = Path(checking.__file__).parent
    cells = [path for path in (folder / "selftest").glob("*.py") if path.stem not in ("__init__", "runner")]
    diagnosis = list((folder / "diagnosis").glob("*.py"))
    assert len(cells) > 6 and len(diagnosis) > 3
    assert not any("diagnosis" in name for path in cells for name in imported(path))
    assert not any("selftest" in name for path in diagnosis for name in imported(path))
