"""Cells as graphs: the numbers of the cell, its derivative, what must be kept, and what cannot be traced."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from cases import EVERY, make
from conftest import backend_or_skip
from helpers import refusal

import rnnbp
from rnnbp.lowering import Untraceable, derivative, evaluate, random_inputs, reach, run_on, saved, trace, untraceable
from rnnbp.lowering.nodes import FOLDS, Graph

TRACEABLE = [name for name in EVERY if untraceable(make(name)) is None]


def test_every_pointwise_cell_can_be_traced():
    assert [n for n in EVERY if isinstance(make(n), rnnbp.PointwiseCell)] == TRACEABLE and len(TRACEABLE) > 20


# ---- the numbers -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("library", ["numpy", "torch", "strict"])
@pytest.mark.parametrize("name", TRACEABLE)
def test_the_graph_has_the_bits_of_the_cell(name, library, dtype):
    backend, found = backend_or_skip(library), trace(make(name))
    drawn = random_inputs(found, np.random.default_rng(3), batch=5)
    inputs = {n: backend.asarray(value, dtype) for n, value in drawn.items()}
    roots = [*found.new_states.values(), *found.gradients.values()]
    for got, want in zip(evaluate(roots, inputs, backend.xp), run_on(found, inputs, backend.xp), strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            assert got.dtype == want.dtype
            wide = np.broadcast_to(backend.to_numpy(got), want.shape)
            np.testing.assert_array_equal(wide, backend.to_numpy(want), strict=True)


def test_a_mark_where_derivatives_end_changes_no_number():
    for cell in map(make, TRACEABLE):
        plain, marked = trace(cell), trace(cell, marks_detached=True)
        drawn = random_inputs(plain, np.random.default_rng(3))
        pairs = zip(*(evaluate([*t.new_states.values()], drawn, np) for t in (plain, marked)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
        assert all(node.op != "detach" for node in reach(plain.new_states.values()))


OPERATIONS = {
    "add": lambda _, a, b: a + b,
    "subtract": lambda _, a, b: 2.0 - a * b,
    "divide": lambda _, a, b: a / (b * b + 1) - 3 / (a + 5),
    "negative": lambda _, a, b: -(a - b),
    "powers": lambda _, a, b: a**2 + b**3 + (a * a) ** 0.5 + (b * b + 1) ** -1.5,
    "tanh": lambda xp, a, b: xp.tanh(a * b),
    "exp": lambda xp, a, b: xp.exp(a) + xp.expm1(b),
    "log": lambda xp, a, b: xp.log(a * a + 0.5) + xp.log1p(b * b),
    "sqrt": lambda xp, a, b: xp.sqrt(a * a + b * b),
    "where": lambda xp, a, b: xp.where((a > b) & ~(a >= 0.5) | (b != b), a * b, xp.ones_like(a)),
    "comparisons": lambda xp, a, b: xp.where((a < 0.0) | (b <= 0.1), a, xp.where(xp.greater(a, b), b, a * 2)),
    "extrema": lambda xp, a, b: xp.minimum(a, b) * xp.maximum(a, 0.3 * b) + xp.maximum(a * a, b),
    "functions": lambda xp, a, b: xp.multiply(xp.square(a), xp.reciprocal(b * b + 1)) + xp.positive(xp.real(a)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_and_its_derivative(name):
    graph, does = Graph(), OPERATIONS[name]
    a, b, d = graph.input("a"), graph.input("b"), graph.input("d")
    root = does(graph.xp, a, b)
    rng = np.random.default_rng(1)
    x = {"a": rng.standard_normal(50), "b": rng.standard_normal(50), "d": np.ones(50)}
    np.testing.assert_array_equal(evaluate([root], x, np)[0], does(np, x["a"], x["b"]))
    for of, found in zip("ab", evaluate(derivative([root], [d], [a, b]), x, np), strict=True):
        h = 1e-6 * np.ones(50)
        up, down = (does(np, *(x[n] + (s * h if n == of else 0) for n in "ab")) for s in (1, -1))
        np.testing.assert_allclose(0.0 if found is None else found, (up - down) / (2 * h), rtol=1e-6, atol=1e-7)


def test_a_derivative_ends_at_detach_and_is_none_without_dependence():
    graph = Graph(marks_detached=True)
    a, b, c, d = map(graph.input, "abcd")
    root = a * b.detach() + b
    by_a, by_b, by_c = derivative([root, a], [d, d], [a, b, c])
    x = {"a": np.array([2.0]), "b": np.array([3.0]), "d": np.array([1.0])}
    assert by_c is None and [float(v[0]) for v in evaluate([by_a, by_b], x, np)] == [4.0, 1.0]


# ---- the graph -------------------------------------------------------------------------------------------------------
def test_common_subexpressions_merge_and_constants_fold():
    graph = Graph()
    a, xp = graph.input("a"), graph.xp
    assert xp.tanh(a * 2) is xp.tanh(a * 2.0) is not xp.tanh(a)
    assert (a + 1) * (a + 1) is xp.square(a + 1)
    assert (xp.ones_like(a) * 3 - 1).value == 2.0 and xp.exp(xp.zeros_like(a)).value == 1.0
    assert a * 1 is 1.0 * a is a / 1 is a**1 is xp.negative(-a)
    assert a is xp.where(a > 0, a, a) is xp.where(xp.ones_like(a) > 0, a, -a)
    assert (graph.constant(True) is not graph.constant(1.0)) and graph.constant(0.0) is not graph.constant(-0.0)
    assert a + 0 is not a and a - 0.0 is not a  # −0 + 0 is +0
    assert set(FOLDS) >= {"where", "minimum", "logical_not"} and "detach" not in FOLDS


def test_operands_of_an_lstm_by_name():
    found = trace(make("lstm:peepholes=true"))
    assert list(found.operands) == ["a_i", "a_f", "a_g", "a_o"] and list(found.params) == ["pi", "pf", "po"]
    assert list(found.gradients) == ["da_i", "da_f", "da_g", "da_o", "dh", "dc", "dpi", "dpf", "dpo"]
    assert found.gradients["dh"] is None and set(found.internals) == {"i", "f", "g", "o", "t", "c", "c1"}
    assert [node.value for node in found.errors.values()] == ["dh'", "dc'"]
    assert list(trace(make("gru")).operands) == ["a_r", "a_z", "a_n_x", "a_n_h"]


def _names_kept(name: str, recompute: bool = True) -> list[str]:
    found = trace(make(name))
    named = {node: n for n, node in found.internals.items()}
    return [named.get(node, repr(node)) for node in saved(found, recompute)]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("lstm", {"i", "f", "g", "o", "t"}),
        ("lstm:peepholes=true", {"i", "f", "g", "o", "t"}),
        ("gru", {"r", "z", "n", "u"}),
        ("gru:bias=false", {"r", "z", "n", "u"}),
        ("rnn", set()),
        ("elman:activation=relu", set()),
        ("data", {"g"}),
    ],
)
def test_what_a_forward_must_leave(name, kept):
    names = _names_kept(name)
    assert set(names) == kept and len(names) == len(kept)


def test_without_recomputing_more_is_kept():
    more = _names_kept("gru", recompute=False)
    assert set(more) > {"r", "z", "n", "u"} and len(more) == 5  # h − n
    assert set(_names_kept("lstm", recompute=False)) == {"i", "f", "g", "o", "t"}


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("name", TRACEABLE)
def test_the_backward_needs_nothing_that_is_not_kept(name, recompute):
    found = trace(make(name))
    kept = {*saved(found, recompute), *found.new_states.values(), *found.errors.values()}
    kept |= {*found.states.values(), *found.params.values(), *found.data.values()}
    between = reach(found.gradients.values(), stop=kept)
    assert not any(node.op == "input" for node in between)
    assert not any(node.op in ("tanh", "exp") for node in between)


# ---- what cannot be traced -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Doing(rnnbp.PointwiseCell):
    """h' = y, an expression of xp, a and h; and what the backward returns, an expression of xp, y and d = dh'."""

    does: str = "xp.tanh(a)"
    returns: str = "(d * (1 - y * y),), (None,), {}"

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del p, e
        y = eval(self.does, {"np": np, "xp": xp, "a": a[0], "h": s[0], "counted": counted, "fail": fail})

        def backward(ds1):
            return eval(self.returns, {"np": np, "xp": xp, "y": y, "d": ds1[0]})

        return (y,), backward


calls = []


def counted():
    """How often it was called."""
    calls.append(1)
    return len(calls)


def fail():
    """An error of several lines."""
    raise OSError("one\ntwo")


REFUSALS = {
    "reduction": ("a - xp.sum(a, axis=-1)", "it uses xp.sum, which is not one of the elementwise"),
    "branch": ("a if a > 0 else h", "it branches on a value: write xp.where"),
    "both": ("a if 0 < a < 1 else h", "it branches on a value"),
    "index": ("a[..., :1] * h", "it takes an operand apart by index"),
    "entries": ("sum(row for row in a)", "it goes through an operand entry by entry"),
    "matmul": ("a @ h", "it multiplies matrices"),
    "matmul from the left": ("np.ones((3, 3)) @ a", "it multiplies matrices"),
    "xp.matmul": ("xp.matmul(a, h)", "it uses xp.matmul"),
    "float": ("a * float(h)", "it takes a number out of an array"),
    "len": ("a * len(h)", "it takes a number out of an array"),
    "power": ("a**h", "it raises to a power that is no constant"),
    "power of a number": ("2.0**a", "it raises to a power that is no constant"),
    "NumPy function": ("np.tanh(a)", "it fails on symbols (TypeError"),
    "NumPy array": ("a * np.ones(3)", "it mixes an operand with a ndarray"),
    "complex number": ("a * 1j", "it mixes an operand with a complex"),
    "abs": ("abs(a)", "it fails on symbols (TypeError"),
    "shape": ("a * a.shape[-1]", "it asks for .shape of an operand"),
    "dtype": ("xp.astype(a, xp.float64)", "it uses xp.astype"),
    "type": ("a * 2 if isinstance(a, np.ndarray) else a", "it computes something else than on arrays"),
    "hasattr": ('a * 2 if hasattr(a, "shape") else a', "it computes something else than on arrays"),
    "global": ("a * counted()", "it computes something else than on arrays"),
    "crash": ("a + [][0]", "it fails on symbols (IndexError: list index out of range)"),
    "lines": ("a + fail()", "it fails on symbols (OSError: one)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_traced_is_refused_in_one_line(name):
    does, message = REFUSALS[name]
    cell = Doing(3, 4, does=does)
    assert message in refusal(lambda: trace(cell)) == untraceable(cell)
    with pytest.raises(Untraceable):
        trace(cell)


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        ("(xp.sum(d),), (None,), {}", "it uses xp.sum"),
        ("(d, d), (None,), {}", "it does not return 1 errors of pre-activations"),
        ("d, (None,), {}", "it does not return 1 errors of pre-activations"),
        ("(d,), (), {}", "it does not return 1 errors of states"),
        ('(d,), (None,), {"w": d}', "it does not return 0 errors of parameters"),
        ("(d,), (None,), None", "it fails on symbols (TypeError"),
        ("(np.ones(3),), (None,), {}", "it mixes an operand with a ndarray"),
        ('(None if hasattr(y, "shape") else d,), (None,), {}', "something else than on arrays"),
    ],
)
def test_a_backward_that_cannot_be_traced_is_refused(returns, message):
    assert message in refusal(lambda: trace(Doing(3, 4, returns=returns)))


def test_numbers_in_place_of_arrays_are_constants():
    found = trace(Doing(3, 4, returns="(0.0,), (None,), {}"))
    assert found.da["a_h"].value == 0.0
    rng = np.random.default_rng(0)
    assert evaluate([found.da["a_h"]], random_inputs(found, rng), np)[0].shape == (2, 4)


@dataclass(frozen=True)
class Listed(Doing):
    """Options that cannot be hashed."""

    options: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Twice(Doing):
    """A state and a datum of one name."""

    @property
    def data(self):
        return {"h": (self.hidden_size,)}


def test_other_cells_that_are_refused():
    assert "plain Cell" in refusal(lambda: trace(make("gru:reset=before")))
    assert "it is not hashable" in refusal(lambda: trace(Listed(3, 4)))
    assert "two things of the name h" in refusal(lambda: trace(Twice(3, 4)))
