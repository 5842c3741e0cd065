"""That rnnbp finds the cells by name, and that they use only what a third party can rely on."""

from __future__ import annotations

import ast
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import rnnbp_recent
from rnnbp_recent.mingru import MinGRU, ParallelMinGRU
from rnnbp_recent.minlstm import MinLSTM, ParallelMinLSTM
from rnnbp_recent.slstm import SLSTM

import rnnbp

MODULES = sorted(Path(rnnbp_recent.__file__).parent.glob("*.py"))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("slstm", SLSTM),
        ("slstm:forget=exp,forget_bias=2", SLSTM),
        ("mingru", ParallelMinGRU),
        ("mingru:parallel=false,positive=true", MinGRU),
        ("minlstm", ParallelMinLSTM),
        ("minlstm:parallel=false,bias=false", MinLSTM),
    ],
)
def test_found_by_name(spec, kind):
    (entry,) = (e for e in entry_points(group="rnnbp.cells") if e.name == spec.partition(":")[0])
    assert entry.dist.name == "rnnbp-recent"
    assert type(rnnbp.cell(spec, 3, 5)) is kind


def test_options_reach_the_cell():
    assert rnnbp.cell("slstm:forget=exp,forget_bias=2", 3, 5) == SLSTM(3, 5, forget="exp", forget_bias=2)
    assert rnnbp.cell("mingru:positive=true,bias=false", 3, 5) == ParallelMinGRU(3, 5, bias=False, positive=True)
    assert rnnbp.cell("minlstm:positive=true,bias=false", 3, 5) == ParallelMinLSTM(3, 5, bias=False, positive=True)


def test_an_unknown_forget_is_one_line():
    with pytest.raises(rnnbp.UserError, match="^forget must be sigmoid or exp; got 'tanh'$"):
        rnnbp.cell("slstm:forget=tanh", 3, 5)


def test_a_forget_bias_without_biases_is_refused():
    with pytest.raises(rnnbp.UserError, match="^forget_bias is where a bias starts; got 2 with bias=false"):
        SLSTM(3, 5, bias=False, forget_bias=2)


@pytest.mark.parametrize("kind", [SLSTM, MinGRU, ParallelMinGRU, MinLSTM, ParallelMinLSTM])
def test_each_says_where_it_was_published(kind):
    assert kind(3, 5).source.partition(", ")[2].startswith("arXiv 24")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_public_names_are_used(path):
    """Every import from rnnbp is `from rnnbp import …`."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert {m for m in modules if m.partition(".")[0] == "rnnbp"} <= {"rnnbp"}
