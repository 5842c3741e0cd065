"""`rnnbp.truncating` and `rnnbp truncation`: the numbers beside complex steps, what is counted, words and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers import complex_step, refusal
from rnnbp_cli import main

import rnnbp
from rnnbp.truncating import compare_truncations, kinds_of
from rnnbp.truncating.keeping import kept_bytes
from rnnbp.truncating.kinds import split_kinds
from rnnbp.truncating.problems import problem_of
from rnnbp.truncating.reports import ALL, HEAD
from rnnbp.truncation import Truncation

SMALL = {"time_steps": 6, "batch": 2, "input_size": 3, "hidden_size": 4}
QUICK = {**SMALL, "repeats": 1, "dtype": "float64", "backend": "numpy"}


# ---- kinds -----------------------------------------------------------------------------------------------------------
def test_kinds_by_k_and_by_name():
    assert kinds_of((1, 4, "full")) == ("tbptt:1,1", "tbptt:4,4", "full")
    assert kinds_of(("2", "8"), ("1997", "tbptt:1,2"), k1=1) == ("tbptt:1,2", "tbptt:1,8", "1997")
    assert split_kinds("1997,tbptt:2,8, decay:0.9,gates:i+f") == ["1997", "tbptt:2,8", "decay:0.9", "gates:i+f"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (partial(kinds_of, (0,)), "k must be a whole number of at least 1, or full; got 0"),
        (partial(kinds_of, ("2.5",)), "k must be a whole number of at least 1, or full; got '2.5'"),
        (partial(kinds_of, (2,), k1=4), "needs K2 >= K1, or errors would be dropped; got K1=4, K2=2"),
        (partial(kinds_of, ()), "at least one kind of truncation; got none"),
        (partial(kinds_of, (), ("tbptt",)), "truncation must be full, tbptt:K1,K2, steps:K"),
    ],
)
def test_what_is_no_kind_is_refused(call, said):
    assert said in refusal(call)


# ---- numbers ---------------------------------------------------------------------------------------------------------
def numeric(q, kind, name):
    """A gradient by complex steps of the loss, its forward cut as the kind says; nothing of the comparison."""
    model = replace(q.model, stack=q.model.stack.of_cells(Truncation.parse("1997").of)) if kind == "1997" else q.model

    def loss(z):
        params, s, pieces = {**q.params, name: z}, None, []
        length = 2 if kind == "tbptt:2,2" else 6
        for lo in range(0, 6, length):  # the state is carried from piece to piece as a number
            logits, s = model.run(params, q.xs[lo : lo + length], s)
            s = tuple(tuple(np.real(part)[0] for part in state) for state in s)
            pieces.append(logits)
        return model.loss(np.concatenate(pieces, axis=-3), q.targets)[0]

    return complex_step(rnnbp.backend("numpy"), loss, q.params[name])


@pytest.mark.parametrize("kind", ["tbptt:2,2", "1997"])
@pytest.mark.parametrize("spec", ["lstm", "gru"])
def test_ratio_and_cosine_are_those_of_two_derivatives(spec, kind):
    q = problem_of(spec, rnnbp.backend("numpy"), "float64", **SMALL)
    found = compare_truncations(spec, (kind,), **QUICK).rows[0].tensors
    pairs = {name: (numeric(q, kind, name), numeric(q, "full", name)) for name in q.model.stack.params}
    pairs[ALL] = tuple(np.concatenate([pair[n].ravel() for pair in pairs.values()]) for n in range(2))
    assert list(found) == list(pairs)
    for name, (g, f) in pairs.items():
        of_g, of_f = np.linalg.norm(g), np.linalg.norm(f)
        assert found[name].ratio == pytest.approx(of_g / of_f, rel=1e-10)
        assert found[name].cosine == pytest.approx(np.sum(g * f) / of_g / of_f, rel=1e-10)
        assert found[name].difference == pytest.approx(np.linalg.norm(g - f) / of_f, rel=1e-9)
    assert 0.02 < found[ALL].difference < 1


def test_longer_windows_and_weaker_decays_are_closer():
    kinds = ("tbptt:1,1", "tbptt:1,3", "decay:0.2", "decay:0.8", "tbptt:6,6", "full")
    far = {row.kind: row.tensors[ALL].difference for row in compare_truncations("gru", kinds, **QUICK).rows}
    assert far["tbptt:1,1"] > far["tbptt:1,3"] > 0.01 and far["decay:0.2"] > far["decay:0.8"] > 0.01
    assert far["tbptt:6,6"] == far["full"] == 0


@pytest.mark.parametrize(
    ("more", "steps", "inputs"),
    [({"task": "four-steps"}, 4, 2), ({"task": "copy", "time_steps": 30}, 30, 10), ({"layers": 2}, 6, 3)],
)
def test_on_tasks_and_in_layers(more, steps, inputs):
    sizes = {"hidden_size": 4} if "task" in more else SMALL
    found = compare_truncations("gru", ("tbptt:2,2",), repeats=1, backend="numpy", **sizes | more)
    assert (found.sizes["T"], found.sizes["I"]) == (steps, inputs)
    assert ("1.U" in found.rows[0].tensors) == ("layers" in more)


def test_what_a_cell_stops_by_itself_is_told():
    """The full gradient of such a cell is not full."""
    found = {spec: compare_truncations(spec, ("1997",), **QUICK) for spec in ("lstm", "lstm-1997/zoneout")}
    assert [one.stopped for one in found.values()] == [(), ("i", "g", "o")]
    told = "the cell itself stops i, g, o: f is full but for that."
    assert [told in one.notes for one in found.values()] == [False, True]


def test_on_a_task_with_one_target_a_sequence_and_as_many_of_them_as_steps():
    found = compare_truncations("gru", ("tbptt:8,8",), task="adding", time_steps=20, batch=20, hidden_size=4, repeats=1)
    assert found.rows[0].tensors[ALL].ratio < 1 and 0.3 < found.rows[0].kept / found.full.kept < 0.55


def test_on_text(tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    files = (str(tmp_path / "text.txt"),)
    found = compare_truncations("rnn", ("decay:0.5",), files=files, batch=2, time_steps=5, hidden_size=4, repeats=1)
    assert found.data == "text" and found.sizes["I"] == 28 and found.rows[0].tensors[ALL].cosine < 1
    said = refusal(lambda: compare_truncations("rnn", ("decay:0.5",), files=files, task="copy"))
    assert said == "text files and task copy exclude each other: name one of them"
    assert "input_size is that of the data; got 4" in refusal(lambda: compare_truncations(task="copy", input_size=4))


# ---- memory ----------------------------------------------------------------------------------------------------------
def test_what_a_backward_holds_is_counted_once():
    a, b = np.zeros((4, 4)), np.zeros(8)
    views, given = [a[0], a[:, 1], a], {"b": b}

    def backward():
        return views, given

    assert kept_bytes(backward) == a.nbytes + b.nbytes
    assert kept_bytes(partial(backward, np.zeros(2), k=(np.zeros(1),)), without=[b[:2]]) == a.nbytes + 24
    assert kept_bytes(lambda: np) == 0


def test_an_elman_step_keeps_its_states_and_outputs(backend):
    """T states of (B, H) at the least, and no more than some arrays for each step."""
    q = problem_of("elman", backend, "float64", **SMALL)
    kept = [kept_bytes(q.until(steps).backward(), q.given) for steps in (3, 6)]
    assert 8 * 6 * 2 * 4 <= kept[1] <= 12 * 8 * 6 * 2 * 4 + 8 * (3 * 4 + 4 * 4) * 4
    assert 1.5 < kept[1] / kept[0] < 2.5


def test_memory_follows_the_window_and_not_the_kind():
    sizes = {**QUICK, "time_steps": 32, "hidden_size": 16}
    found = compare_truncations("lstm", ("tbptt:8,8", "tbptt:1,8", "tbptt:16,16", "1997", "full"), **sizes)
    kept = [row.kept / found.full.kept for row in found.rows]
    assert kept[0] == kept[1] and 0.2 < kept[0] < 0.35 and 0.45 < kept[2] < 0.6 and kept[3:] == [1, 1]


# ---- the command -----------------------------------------------------------------------------------------------------
WORDS = "truncation gru --time-steps 6 --batch 2 --input 3 --hidden 4 --repeats 1"


def call(capsys, words):
    with pytest.raises(SystemExit) as left:
        main(words.split())
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


def test_the_table_and_json_say_the_same(capsys):
    code, out, _ = call(capsys, f"{WORDS} --k 2,full --kinds 1997,decay:0.9")
    assert code == 0 and all(word in out for word in (*HEAD, "tbptt:2,2", "full", "1997", "decay:0.9", "0.bu", "all"))
    code, out, _ = call(capsys, f"{WORDS} --k 2,full --kinds 1997,decay:0.9 --json")
    found = json.loads(out)
    assert [row["truncation"] for row in found["kinds"]] == ["tbptt:2,2", "full", "1997", "decay:0.9"]
    assert found["kinds"][1]["tensors"]["all"] == {"ratio": 1.0, "cosine": pytest.approx(1), "difference": 0.0}
    assert found["sizes"] == {"T": 6, "B": 2, "I": 3, "H": 4} and found["kinds"][0]["min_ms"] > 0


def test_by_default_six_windows_and_with_kinds_these_alone(capsys):
    assert len(json.loads(call(capsys, f"{WORDS} --json")[1])["kinds"]) == 6
    found = json.loads(call(capsys, f"{WORDS} --kinds steps:2 --kinds tbptt:1,2 --json")[1])
    assert [row["truncation"] for row in found["kinds"]] == ["steps:2", "tbptt:1,2"]
    assert json.loads(call(capsys, f"{WORDS} --k 4 --k1 1 --json")[1])["kinds"][0]["truncation"] == "tbptt:1,4"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture_is_written_and_not_over_another(capsys, tmp_path, ending):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{ending}"
    code, _, err = call(capsys, f"{WORDS} --k 1,2,full --kinds decay:0.9 --out {path}")
    assert code == 0 and err == f"plot {path}\n" and path.stat().st_size > 5000
    code, _, err = call(capsys, f"{WORDS} --k 1 --out {path}")
    assert code == 2 and "replaces no file" in err
    assert call(capsys, f"{WORDS} --kinds 1997 --out {path} --force")[0] == 0


def test_axes_are_named_k_is_logarithmic_and_full_is_a_line(monkeypatch, tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure
    from rnnbp.truncating.plotting import WHOLE, draw

    made = []
    monkeypatch.setattr(figure, "savefig", lambda self, *_, **__: made.append(self))
    draw(tmp_path / "p.png", compare_truncations("lstm", ("tbptt:4,4", "tbptt:1,1", "1997"), **QUICK))
    ratio, others, cosine, below = made[0].axes
    assert ratio.get_xscale() == "log" and [t.get_text() for t in ratio.get_xticklabels()] == ["1", "4"]
    assert (
        "norm ratio" in ratio.get_ylabel() and "cosine" in cosine.get_ylabel() and cosine.get_xlabel().startswith("k,")
    )
    assert [t.get_text() for t in below.get_xticklabels()] == ["1997"] and below.get_xlabel() == "other truncations"
    lines = {line.get_label(): line for line in ratio.lines}
    assert list(lines["full gradient"].get_ydata()) == [1, 1] and lines["all"].get_color() == WHOLE
    assert len({line.get_color() for line in others.lines}) == len(others.lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--k 0", "k must be a whole number of at least 1, or full; got '0'"),
        ("--k 2 --kinds half", "truncation must be full"),
        ("--k 2 --k1 4", "needs K2 >= K1"),
        ("--k1 2 --kinds 1997", "--k1 is of the windows of --k; got no --k: leave it out"),
        ("--kinds peepholes", "GRU has none such: use lstm:peepholes=true"),
        ("--force", "--force lets --out replace a file; got no --out: leave it out"),
        ("--out plot.pdf", "--out writes PNG or SVG; got plot.pdf"),
        ("--repeats 0", "repeats must be an integer of at least 1; got 0"),
        ("--dtype float16", "dtype must be one of"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(capsys, words, said):
    code, out, err = call(capsys, f"{WORDS} {words}")
    assert (code, out) == (2, "") and err.startswith("rnnbp: ") and said in err and err.count("\n") == 1
