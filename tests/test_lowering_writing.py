"""Graphs as statements of a language, run as Python here, and as drawings."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases import EVERY, make
from test_lowering import OPERATIONS

from rnnbp.lowering import FORMS, Language, dot, evaluate, random_inputs, saved, statements, trace, untraceable
from rnnbp.lowering.nodes import Graph

TRACEABLE = [name for name in EVERY if untraceable(make(name)) is None]
ARRAYS = Language(repr, FORMS, "{name} = {value}", frozenset({"where", "tanh"}))
# in line, as C writes them, so that every bracket counts
INLINE = FORMS | {"where": "{1} if {0} else {2}", "logical_and": "{0} and {1}", "logical_or": "{0} or {1}"}
INLINE |= {"logical_not": "not {0}", "minimum": "min({0}, {1})", "maximum": "max({0}, {1})", "pow": "{0} ** {1}"}
SCALARS = Language(repr, INLINE, "{name} = {value}")
FUNCTIONS = {name: getattr(np, name) for name in ("tanh", "exp", "expm1", "log", "log1p", "sqrt", "where")}


def run(lines, outputs, known):
    """Execute assignments, and give the outputs."""
    names = FUNCTIONS | known
    exec("\n".join(lines), names)
    return [eval(text, names) for text in outputs.values()]


def _known(found):
    """Names that Python takes for the inputs of a trace."""
    groups = (found.operands, found.states, found.params, found.data)
    return {node: f"in_{node.value}" for group in groups for node in group.values()} | {
        node: f"d_{state}" for state, node in found.errors.items()
    }


@pytest.mark.parametrize("name", TRACEABLE)
def test_statements_give_the_numbers_of_the_cell(name):
    found = trace(make(name))
    known, drawn = _known(found), random_inputs(found, np.random.default_rng(5))
    given = {known[node]: drawn[node.value] for node in known}
    backward = {n: node for n, node in found.gradients.items() if node is not None}
    for roots in (found.new_states, backward, {**found.new_states, **backward}):
        lines, outputs = statements(roots, known, found.internals, ARRAYS)
        wanted = evaluate([*roots.values()], drawn, np)
        for got, want in zip(run(lines, outputs, given), wanted, strict=True):
            np.testing.assert_array_equal(np.broadcast_to(got, want.shape), want)


@pytest.mark.parametrize("name", TRACEABLE)
def test_a_backward_starts_from_what_was_kept(name):
    found = trace(make(name))
    rng, ends = np.random.default_rng(5), {f"{n}_new": node for n, node in found.new_states.items()}
    drawn, kept = random_inputs(found, rng), {f"kept{k}": node for k, node in enumerate(saved(found))}
    values = evaluate([*ends.values(), *kept.values()], drawn, np)
    inputs = _known(found)
    for node in found.operands.values():
        del inputs[node]
    known = inputs | {node: n for n, node in {**ends, **kept}.items()}
    given = {inputs[node]: drawn[node.value] for node in inputs} | dict(zip((*ends, *kept), values, strict=True))
    backward = {n: node for n, node in found.gradients.items() if node is not None}
    lines, outputs = statements(backward, known, found.internals, ARRAYS)
    for got, want in zip(run(lines, outputs, given), evaluate([*backward.values()], drawn, np), strict=True):
        np.testing.assert_array_equal(np.broadcast_to(got, want.shape), want)
    assert not re.search(r"\ba_", "\n".join([*lines, *outputs.values()]))


def test_an_lstm_reads_as_it_was_written():
    found = trace(make("lstm"))
    lines, outputs = statements(found.new_states, _known(found), found.internals, ARRAYS)
    assert lines[-2:] == ["c1 = f * in_c + i * g", "t = tanh(c1)"] and outputs == {"h": "o * t", "c": "c1"}
    backward = {"dc": found.gradients["dc"]}
    kept = {found.internals[n]: n for n in "ifgoct"}
    lines, outputs = statements(backward, {**_known(found), **kept}, found.internals, ARRAYS)
    assert lines == [] and outputs == {"dc": "(d_c + d_h * o * (1.0 - t * t)) * f"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_in_line(name):
    graph = Graph()
    a, b = graph.input("a"), graph.input("b")
    check(OPERATIONS[name](graph.xp, a, b), graph)


PRECEDENCE = {
    "difference of differences": lambda _, a, b: a - (b - (a - b)) - (a + b),
    "quotients": lambda _, a, b: a / (b / a) / (a * b),
    "minus a product": lambda _, a, b: a - -(a * b) * -b - -2.0,
    "comparisons compared": lambda xp, a, b: xp.where((a < b) == (b < 0.5), a, b),
    "and of ors": lambda xp, a, b: xp.where(((a < b) | (b < 0)) & ((a > 1) | (b > a)), a, b),
    "or of ands": lambda xp, a, b: xp.where((a < b) & (b < 0) | (a > 1) & ~(b > a), a, b),
    "not of and": lambda xp, a, b: xp.where(~((a < b) & (b < 0)), a, b),
    "not in a comparison": lambda xp, a, b: xp.where(~(a < b) != (b < 0), a, b),
    "where in each place": lambda xp, a, b: xp.where(
        xp.where(a < 0, b, a) > 0.2, xp.where(b < 0, a, 2 * b), xp.where(b > 1, a, -b)
    ),
    "where in a sum": lambda xp, a, b: a * xp.where(b < 0, a, b) - xp.where(a < 0, a, b),
    "power of a sum": lambda _, a, b: (a + b) ** 2 * (a - b) ** 3 / (a * a + 1) ** -1,
    "power of minus": lambda _, a, b: (-a) ** 2 - -(b**2) + (a * a) ** 1.5,
}


@pytest.mark.parametrize("name", PRECEDENCE)
def test_brackets_stand_where_they_must(name):
    graph = Graph()
    check(PRECEDENCE[name](graph.xp, graph.input("a"), graph.input("b")), graph)


def check(root, graph):
    """The statements of a root in a and b give what the graph does, over points that take every branch."""
    names = {graph.input("a"): "a", graph.input("b"): "b"}
    lines, outputs = statements({"y": root}, names, {}, SCALARS)
    for x in np.random.default_rng(2).uniform(-2, 2, (40, 2)):
        (got,) = run(lines, outputs, {"a": x[0], "b": x[1]})
        (want,) = evaluate([root], {"a": x[:1], "b": x[1:]}, np)
        np.testing.assert_allclose(got, want[0], rtol=1e-13)


def test_names_do_not_collide():
    graph = Graph()
    a, v1, x = graph.input("a"), graph.input("v1"), graph.input("x")
    shared = a * v1 + x
    named = {"tanh": a + x, "x": a - x, "x_": a * 3.0}
    root = shared * shared + graph.xp.tanh(a) * (named["tanh"] * named["x"] * named["x_"])
    lines, outputs = statements({"y": root}, {}, named, ARRAYS)
    assigned = [line.partition(" = ")[0] for line in lines]
    assert len(set(assigned)) == len(assigned) and not set(assigned) & {"a", "v1", "x", "tanh", "where"}
    given = {"a": np.array([0.3]), "v1": np.array([1.7]), "x": np.array([-0.4])}
    np.testing.assert_array_equal(run(lines, outputs, given), evaluate([root], given, np))


def test_long_expressions_are_cut():
    graph = Graph()
    root = a = graph.input("a")
    for k in range(60):
        root = root * (a + float(k))
    lines, outputs = statements({"y": root}, {a: "a"}, {}, ARRAYS)
    assert max(map(len, [*lines, *outputs.values()])) < 120 and len(lines) > 5
    given = {"a": np.array([0.9])}
    np.testing.assert_array_equal(run(lines, outputs, given), evaluate([root], given, np))


# ---- drawings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TRACEABLE)
def test_a_drawing_is_whole(name):
    text, found = dot(trace(make(name))), trace(make(name))
    assert text.startswith("digraph cell {") and text.count("{") == text.count("}") == 3
    assert all(text.count(mark) % 2 == 0 for mark in '"') and text.count("[") == text.count("]")
    declared = re.findall(r"^ +(\w+) \[label=", text, re.MULTILINE)
    assert len(set(declared)) == len(declared)
    edges = re.findall(r"^ +(\w+) -> (\w+);$", text, re.MULTILINE)
    assert edges and {end for edge in edges for end in edge} <= set(declared)
    assert text.count("fillcolor") == len(saved(found))
    for root in (*(f"{state}'" for state in found.new_states), *found.gradients):
        assert re.search(rf'label="{root}( = 0)?", shape=plaintext', text)


def test_a_drawing_says_what_is_zero_and_what_has_a_name():
    text = dot(trace(make("lstm")))
    assert 'label="dh = 0"' in text and 'label="t = tanh", style="rounded,filled"' in text
    assert 'label="c1 = +"' in text and 'label="a_i"' in text and "dh = 0" not in dot(trace(make("gru")))
