"""The source that the NumPy backend generates: it reads well, bears the cell's names, and takes any that a cell has."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
from helpers import H, I, agree, portable, problem, refusal
from numba_scans import FUSED, PORTABLE, cell, fused, results
from rnnbp_cli import main
from rnnbp_numpy import NumpyBackend
from rnnbp_numpy.generating import source

import rnnbp
from rnnbp.fastpath import layout
from rnnbp.initializers import normal


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUSED)
def test_it_is_python_that_says_what_it_is(name, dtype):
    made = cell(name)
    text = source(made, dtype)
    compile(text, "generated", "exec")
    tree = ast.parse(text)
    assert [f.name for f in tree.body if isinstance(f, ast.FunctionDef)] == [
        "forward_row", "backward_row", "forward", "backward"
    ]  # fmt: skip
    told = ast.get_docstring(tree)
    first = told.splitlines()[0]
    assert first.startswith(f"{type(made).__name__} with gates {', '.join(made.gates)}, in {dtype}")
    assert f"dz holds the errors of {', '.join(layout(made).columns)} side by side" in " ".join(told.split())
    for f in tree.body[-2:]:
        assert ast.get_docstring(f), f"{f.name} says nothing"


@pytest.mark.parametrize("name", FUSED)
def test_what_is_kept_lies_where_the_docstring_says(name):
    """Every value that the forward leaves is stored once, in that place, and the backward loads it from there."""
    plan, text = layout(cell(name)), source(cell(name), "float32")
    told = " ".join(ast.get_docstring(ast.parse(text)).split())
    ahead, _, back = text.partition("def backward_row")
    places = re.findall(r"(\S+) in (kept\[\d+ \* H \+ unit\])", told)
    assert len(places) == len(plan.kept)
    for _, place in places:
        assert len(re.findall(rf"^\s+{re.escape(place)} = ", ahead, re.MULTILINE)) == 1
        assert f"= {place}\n" in back


@pytest.mark.parametrize("name", FUSED)
def test_it_bears_the_names_of_the_cell(name):
    plan, text = layout(cell(name)), source(cell(name), "float32")
    for kept, node in plan.trace.internals.items():
        if any(node is other for other in plan.kept):
            assert re.search(rf"\b{kept}_*\b", text), kept
    for state in plan.cell.states:
        assert f"{state}_all" in text and f"{state}_error" in text
    for parameter in plan.cell.elementwise:
        assert f"{parameter}_given" in text and f"{parameter}_sum" in text


@pytest.mark.parametrize("name", FUSED)
def test_lines_can_be_read(name):
    """But for signatures and calls, which name all arrays, and the docstring, which says where each value lies."""
    for line in source(cell(name), "float64").split('"""', 2)[2].splitlines():
        if not line.startswith(("def ", "@njit([")) and "_row(H, " not in line:
            assert len(line) <= 160, line


def test_a_size_is_no_part_of_it():
    assert source(cell("gru", 4, 6), "float32") == source(cell("gru", 9, 37), "float32")


# ---- names -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Named(rnnbp.PointwiseCell):
    """A cell with names that generated code has a use for; so have its closure's variables."""

    gates = ("lo", "product", "unit", "v1")
    data = property(lambda self: dict.fromkeys(("H", "masked", "kept"), (self.hidden_size,)))

    @property
    def states(self):
        return dict.fromkeys(("ax", "step", "hi", "row", "dy"), (self.hidden_size,))

    @property
    def elementwise(self):
        return {n: rnnbp.Param((self.hidden_size,), normal(0.5)) for n in ("np", "dz", "F", "range", "v2", "zero")}

    recurrent = ("row", "ax")

    def pointwise(self, xp, a, s, p, e):
        tanh, bias = xp.tanh(a[0] + a[1] * a[2] - a[3]), xp.tanh(s[2] * p["zero"])
        ah = tanh * p["np"] + p["dz"] * e["H"] * s[0] + p["F"] * e["kept"]
        extra = p["range"] * e["masked"] + p["v2"]

        def backward(ds1):
            dax, dstep, dhi, drow, ddy = ds1
            dah, dextra = dax + dstep * extra, dstep * ah + dhi
            d = (dah * p["np"] + drow) * (1 - tanh * tanh)
            of_s = (dah * p["dz"] * e["H"], None, ddy * (1 - bias * bias) * p["zero"], None, None)
            of_p = {"np": dah * tanh, "dz": dah * e["H"] * s[0], "F": dah * e["kept"], "range": dextra * e["masked"]}
            of_p |= {"v2": dextra, "zero": ddy * (1 - bias * bias) * s[2]}
            return (d, d * a[2], d * a[1], -d), of_s, of_p

        return (ah, ah * extra, extra, tanh, bias), backward


def test_names_that_the_code_around_has_a_use_for():
    q = problem(Named(I, H))
    agree(results(q, fused, [None, (1, 2, 4)]), results(q, portable, [None, (1, 2, 4)]))


# ---- the doors to it -------------------------------------------------------------------------------------------------
def test_lower_prints_it(capsys):
    for words, dtype in (([], "float32"), (["--dtype", "float64"], "float64")):
        with pytest.raises(SystemExit) as end:
            main(["lower", "lstm", "--target", "numba", *words])
        assert not end.value.code
        assert capsys.readouterr().out == source(rnnbp.cell("lstm", 4, 6), dtype) + "\n"


@pytest.mark.parametrize("name", PORTABLE)
def test_a_cell_without_a_kernel_is_refused_in_one_line(name):
    assert "there is no kernel for" in refusal(lambda: NumpyBackend.generated(cell(name), "float32"))


def test_other_dtypes_are_refused_in_one_line():
    assert "float32 and float64; got 'complex64'" in refusal(lambda: NumpyBackend.generated(cell("rnn"), "complex64"))


WITHOUT = """
import sys, importlib.metadata as metadata
{before}
import numpy as np, rnnbp
backend, cell = rnnbp.backend("numpy"), rnnbp.cell("lstm", 4, 6)
xs = np.ones((5, 3, 4))
ys, _, backward = rnnbp.scan(cell, cell.init(np.random.default_rng(0)), xs)
dparams, dxs, _ = backward(ys)
print(backend.path != "numba", dxs.shape, "numba" in sys.modules, len(backend.generated(cell, "float32")) > 1000)
"""
HIDDEN = """
version = metadata.version
def without(name):
    if name in ({0!r},):
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = without
"""


@pytest.mark.parametrize("way", ["NUMBA_DISABLE_JIT", "no numba", "no threadpoolctl"])
def test_without_compiled_kernels_another_path_runs(way):
    switched_off = {"NUMBA_DISABLE_JIT": "1"} if way == "NUMBA_DISABLE_JIT" else {}
    text = WITHOUT.format(before=HIDDEN.format(way.split()[1]) if way.startswith("no ") else "")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], env=os.environ | switched_off, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("True (5, 3, 4) False True\n", "")
