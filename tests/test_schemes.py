"""Schemes of initialisation: each word does what it says to what it names, and to nothing else."""

import re
from pathlib import Path

import numpy as np
import pytest
from fast_cells import PLUGGED
from helpers import refusal

import rnnbp
from rnnbp.drawing import drawn
from rnnbp.losses import CrossEntropy
from rnnbp.registry import CELLS
from rnnbp.schemes import INITIALIZERS, SCHEMES, parse

I, H = 5, 6


def by(spec, scheme, seed=0):
    cell = rnnbp.cell(spec, I, H)
    return cell.init(np.random.default_rng(seed)), drawn(cell, scheme, np.random.default_rng(seed))


def gate(w, k, gates):
    return np.split(w, gates, axis=-1)[k]


def test_orthogonal_gates():
    own, w = by("lstm", "orthogonal")
    for k in range(4):
        u = gate(w["U"], k, 4)
        assert np.allclose(u.T @ u, np.eye(H), rtol=0, atol=1e-14)
    limit = np.sqrt(6 / (I + H))  # fan_out of one gate
    assert 0.8 * limit < np.max(np.abs(w["W"])) < limit
    assert np.array_equal(w["b"], own["b"])


def test_a_gate_alone():
    """What no word names has the numbers that it has without a scheme."""
    own, w = by("gru", "U.z=orthogonal:2,b.r=-1")
    for name in own:
        changed = np.split(own[name] != w[name], 3, axis=-1)
        assert [bool(np.all(c)) for c in changed] == [name == "b", name == "U", False], name
        assert all(np.all(c) or not np.any(c) for c in changed)
    assert np.allclose(gate(w["U"], 1, 3).T @ gate(w["U"], 1, 3), 4 * np.eye(H), rtol=0, atol=1e-14)
    assert np.all(gate(w["b"], 0, 3) == -1)


@pytest.mark.parametrize("words", ["bias=2,b=1,b.f=3", "b.f=3,b=1,bias=2", "b=1,bias=2,b.f=3"])
def test_what_means_less_comes_later(words):
    _, w = by("lstm", words)
    assert w["b"].tolist() == [1.0] * H + [3.0] * H + [1.0] * 2 * H


def test_torch():
    """As torch draws: U(±1/√H), matrices and biases alike."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.GRU(32, 64).weight_hh_l0.detach().numpy()
    w = drawn(rnnbp.cell("gru", 32, 64), "torch", np.random.default_rng(0))
    assert set(w) == {"W", "U", "b", "bu"} and all(np.any(value) for value in w.values())
    assert max(np.max(np.abs(value)) for value in (theirs, *w.values())) <= 1 / 8
    spread = 1 / 8 / np.sqrt(3)
    for value in (theirs, w["W"], w["U"]):
        assert abs(np.std(value) - spread) < 5 * spread / np.sqrt(value.size)


def test_irnn():
    own, w = by("elman:activation=relu", "irnn")
    assert np.array_equal(w["U"], np.eye(H)) and not w["b"].any()
    assert 0 < np.max(np.abs(w["W"])) < 0.01 and not np.array_equal(w["W"], own["W"])


def test_chrono_of_an_lstm():
    own, w = by("lstm", "chrono:40")
    i, f, *rest = np.split(w["b"], 4)
    assert np.all((f >= 0) & (f <= np.log(39))) and np.array_equal(i, -f) and len(set(f)) == H
    assert not np.any(rest)
    assert all(np.array_equal(own[n], w[n]) for n in ("W", "U"))


def test_chrono_of_a_gru():
    """The gate z keeps the old state."""
    _, w = by("gru", "chrono:40")
    r, z, n = np.split(w["b"], 3)
    assert np.all((z >= 0) & (z <= np.log(39))) and np.any(z) and not np.any(r) and not np.any(n)


def test_chrono_comes_before_a_gate_and_after_a_parameter():
    _, w = by("lstm", "chrono:40,b=5,b.i=7")
    i, f, *rest = np.split(w["b"], 4)
    assert np.all(i == 7) and np.all(f <= np.log(39)) and np.all(np.asarray(rest) == 5)


# all but the LSTM without input gate, where nothing keeps news out
SPECS = [*(set(CELLS) - {"lstm-nig"}), "gru:reset=before", "rhn:coupled=false"]
MEMORIES = sorted(spec for spec in SPECS if rnnbp.cell(spec, I, H).memory_gates)


@pytest.mark.parametrize("spec", MEMORIES)
def test_memory_gates_do_what_they_say(spec):
    """Wide open, a gate that keeps leaves the state; one that lets go, shut, does so, too."""
    cell, rng = rnnbp.cell(spec, I, H), np.random.default_rng(0)
    params = cell.init(rng)
    for name, gates in cell.blocks.items():
        for k, gate in enumerate(gates):
            if params[name].ndim == 1 and gate in cell.memory_gates:
                params[name][k * H : (k + 1) * H] = cell.memory_gates[gate] * 50.0
    s = cell.random_state(rng, 3)
    s1, _ = cell.step(np, params, rng.standard_normal((3, I)), s, {})
    kept = list(cell.states).index("c") if "c" in cell.states else 0
    assert np.allclose(s1[kept], s[kept], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("spec", sorted(CELLS))
def test_every_scheme_on_every_cell(spec, scheme):
    """It draws, finitely and by the seed alone, or says what is missing."""
    cell = rnnbp.cell(spec, I, H)
    try:
        one, two = (drawn(cell, scheme, np.random.default_rng(1)) for _ in range(2))
    except rnnbp.UserError as error:
        assert "recurrent" in str(error) and not any(name.startswith("U") for name in cell.params)
        return
    assert {name: w.shape for name, w in one.items()} == {name: spec.shape for name, spec in cell.params.items()}
    assert all(np.array_equal(one[name], two[name]) and np.all(np.isfinite(one[name])) for name in one)


@pytest.mark.parametrize("name", sorted(PLUGGED))
def test_cells_of_plugins(name):
    """Their biases, too: those that let go get the negative of those that keep."""
    cell = PLUGGED[name](I, H)
    w = drawn(cell, "input=orthogonal,chrono:30", np.random.default_rng(0))
    gates = dict(zip(cell.gates, np.split(w["b"], len(cell.gates)), strict=True))
    spans = [sign * gates[gate] for gate, sign in cell.memory_gates.items()]
    assert np.any(spans[0]) and all(np.array_equal(spans[0], b) for b in spans) and np.all(np.abs(spans) <= np.log(29))
    assert np.all(np.asarray(spans) >= 0)


def test_stacks_and_models():
    cells = rnnbp.stack("gru", I, H, 2, bidirectional=True)
    model = rnnbp.Model(cells, 3, CrossEntropy(), "embedding", 7)
    rng = np.random.default_rng
    w = drawn(model, "U=orthogonal,readout.W=zeros,embedding.E=uniform:0.1", rng(0))
    own = model.init(rng(0))
    changed = {name for name in own if not np.array_equal(own[name], w[name])}
    assert changed == {"readout.W", "embedding.E"} | {f"{at}U" for at in ("0.", "0.reverse.", "1.", "1.reverse.")}
    assert not np.array_equal(w["0.U"], w["0.reverse.U"]) and np.max(np.abs(w["embedding.E"])) < 0.1
    assert list(drawn(cells, "glorot", rng(0))) == list(cells.params)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("b.q=1", "unknown parameter or gate to initialise 'b.q': did you mean"),
        ("V=glorot", "unknown parameter or gate to initialise 'V'"),
        ("ortogonal", "unknown scheme of initialisation 'ortogonal': did you mean orthogonal"),
        ("U=ortogonal", "unknown initialisation 'ortogonal': did you mean orthogonal"),
        ("U=normal", "initialisation normal needs a number above 0, as in normal:0.1; got ''"),
        ("U=normal:big", "initialisation normal needs a number above 0, as in normal:0.1; got 'big'"),
        ("U=uniform:-1", "initialisation uniform needs a number above 0, as in uniform:0.1; got '-1'"),
        ("U=glorot:2", "initialisation glorot takes no number; got 'glorot:2'"),
        ("b=orthogonal", r"b.i cannot be drawn so: orthogonal needs a matrix; got shape \(6,\)"),
        ("b=nan", "unknown initialisation 'nan'"),
        ("chrono", "chrono needs T_MAX, as in chrono:100; got ''"),
        ("chrono:1", "chrono needs T_max above 2, in steps; got 1"),
        ("", "unknown scheme of initialisation ''"),
        ("=1", "unknown scheme of initialisation ''"),
    ],
)
def test_words_that_mean_nothing_are_refused(scheme, message):
    cell = rnnbp.cell("lstm", I, H)
    with pytest.raises(rnnbp.UserError, match=message):
        drawn(cell, scheme, np.random.default_rng(0))


def test_what_a_cell_lacks_is_refused():
    rng = np.random.default_rng(0)
    assert "has none in its memory_gates" in refusal(lambda: drawn(rnnbp.cell("rnn", I, H), "chrono:9", rng))
    lacking = rnnbp.cell("lstm:bias=false", I, H)
    assert "has none in its memory_gates" in refusal(lambda: drawn(lacking, "chrono:9", rng))
    assert "'bias'" in refusal(lambda: drawn(lacking, "bias=1", rng))


def test_a_scheme_is_data():
    assert [selector for selector, _ in parse("W=1, U = orthogonal ,chrono:9").rules] == ["W", "U"]
    assert parse("chrono:9").t_max == 9


def test_the_page_names_them_all():
    from rnnbp.runs import COLUMNS

    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
    for name in [*SCHEMES, *INITIALIZERS, *COLUMNS[COLUMNS.index("penalty") :], "train_loss", "valid_loss", "clipped"]:
        assert re.search(rf"`{name}\b", page), name
