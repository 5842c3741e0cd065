"""What holds of every measurement, of any cell: its pictures can be drawn, and its numbers are numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from math import isinf, isnan
from pathlib import Path

import numpy as np
import pytest
from flow_subjects import CELLS, H, T, of, subject
from helpers import refusal

from rnnbp.errors import UserError
from rnnbp.flow.fresh import fresh_subjects
from rnnbp.flow.measures import DEFAULT, DRAWN, MEASURES, MODULES, PICTURES, terms
from rnnbp.flow.measures.found import Line, Measured, Panel
from rnnbp.flow.measures.layering import by_layer
from rnnbp.flow.reports import Report, measure, owner
from rnnbp.model import Model
from rnnbp.stacking import Stack

ROWS = tuple(
    {"step": step, "grad_norm": 2.0 / (1 + step), "train_loss": 1.0, "valid_loss": 0.9, "clip_norm": 0.5}
    | {"norm_ratio": 0.7, "cosine": 1.0, "cosine_min": 1.0}
    for step in (0, 10, 20)
)
SAMPLES = (
    {"step": 0, "lags.half-life": 3.0},
    {"step": 10, "lags.half-life": None},
    {"step": 20, "lags.half-life": 5.0},
)
INFINITE = ("half-life", "largest step", "exponent", "condition")  # what does not fall; what needs no bound


def run(cell, layers=1):
    return replace(subject(cell, layers), rows=ROWS, samples=SAMPLES, config={"clip_norm": 1.0})


def mixed():
    """A GRU, and an LSTM above it that adds what it reads."""
    low, high = subject("gru").model.stack.layers[0][0], subject("lstm").model.stack.layers[0][0]
    stack = Stack(((low,), (replace(high, input_size=H),)), (1,))
    return replace(of(Model(stack, 2, subject("gru").model.loss), "mixed"), rows=ROWS)


SUBJECTS = {
    **{cell: (lambda cell=cell: run(cell)) for cell in CELLS},
    "two layers": lambda: run("lstm", 2),
    "two plain layers": lambda: run("rnn", 2),
    "mixed": mixed,
}
FITS = {  # what is refused, where not all is taken
    "bounds": {"rnn", "two plain layers"},
    "terms": {"lstm", "lstm:peepholes=true", "gru", "gru:reset=before", "two layers", "mixed"},
    "carousel": {"lstm", "lstm:peepholes=true", "two layers", "mixed"},
    "saturation": set(SUBJECTS) - {"rhn"},
    "training": set(SUBJECTS) - {"mixed"},
}


@pytest.fixture(scope="module", params=list(SUBJECTS))
def found(request):
    """Name, and every measurement of it."""
    what = SUBJECTS[request.param]()
    return request.param, measure([what], list(MEASURES)).found[what.label]


def test_what_is_refused_says_why(found):
    name, every = found
    for what, one in every.items():
        assert bool(one.refused) == (name not in FITS.get(what, SUBJECTS)), (what, one.refused)
        assert "\n" not in one.refused and one.measure == what


def test_numbers_are_numbers(found):
    for what, one in found[1].items():
        assert one.refused or one.numbers, what
        for name, x in one.numbers.items():
            assert isinstance(x, float) and not isnan(x), (what, name, x)
            assert not isinf(x) or any(word in name for word in INFINITE), (what, name, x)


def test_pictures_can_be_drawn(found):
    for what, one in found[1].items():
        assert len({(panel.picture, panel.part) for panel in one.panels}) == len(one.panels), what
        for panel in one.panels:
            picture = PICTURES[panel.picture]
            assert (panel.image is None) == (picture.colour is None) and bool(panel.lines) == (panel.image is None)
            assert len({line.label for line in panel.lines}) == len(panel.lines), panel.picture
            for line in panel.lines:
                assert_drawn(line, picture.x.log, picture.y.log, f"{panel.picture}: {line.label}")
            if panel.image is not None:
                assert panel.image.shape == (T, T) and np.nanmin(panel.image) > 0


def assert_drawn(line, log_x, log_y, where):
    assert line.x.shape == line.y.shape == (len(line.x),), where
    assert line.style in ("line", "dashed", "points", "bars"), where
    there = np.isfinite(line.y)
    assert there.any() and np.isfinite(line.x).all(), where
    assert not log_x or np.all(line.x > 0), where
    assert not log_y or np.all(line.y[there] > 0), where


def test_sentences_have_numbers_in_them(found):
    for one in found[1].values():
        for panel in one.panels:
            assert panel.seen.endswith(".") and any(c.isdigit() for c in panel.seen), panel.seen
            assert "nan" not in panel.seen.split() and "\n" not in panel.seen, panel.seen
        assert all(note.endswith(".") or "is left out" in note for note in one.notes)


def test_numbers_have_the_same_names_whatever_the_weights():
    """A run's columns are those of its first sample."""
    for cell, layers in (("lstm:peepholes=true", 2), ("rnn", 1)):
        one = run(cell, layers)
        other = replace(one, params={name: 3 * w + 0.1 for name, w in one.params.items()})
        for what, measured in measure([one], list(MEASURES)).found[cell].items():
            assert measured.refused or list(MEASURES[what](other).numbers) == list(measured.numbers), what


def test_a_picture_belongs_to_one_measurement():
    names = [name for module in MODULES for name in module.PICTURES]
    assert len(set(names)) == len(names) and set(names) < set(PICTURES)
    recorded = set(MEASURES) - {"clipping", "training"}
    assert {f"{name} over training" for name in recorded} == set(PICTURES) - set(names)
    assert list(DRAWN) == list(MEASURES) and DRAWN["terms"] == terms.PICTURES and not DRAWN["states"]
    assert set(DEFAULT) <= set(MEASURES) and set(measure([subject("rnn")]).found["rnn"]) == set(DEFAULT)


def test_the_page_lists_them():
    page = (Path(__file__).parent.parent / "docs" / "flow.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|.*\| .* \|$", page.split("## In the library")[0], re.M) == list(MEASURES)


def test_the_page_says_what_every_number_is():
    page = (Path(__file__).parent.parent / "docs" / "flow.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (.*`.*) \|$", page.partition("| of | numbers |")[2].partition("\n\n")[0], re.M)
    assert [name for name, _ in rows] == list(MEASURES)
    for name, text in rows:
        known = [re.escape(one) for one in re.findall(r"`([^`]+)`", text.replace("\\|", "|"))]
        pattern = re.compile(r"(\d\.)?(" + "|".join(re.sub("[A-Z]{4,}", ".+", one) for one in known) + ")")
        for cell in CELLS:
            for number in numbers_of(name, run(cell, 2)) + numbers_of(name, run(cell)):
                assert pattern.fullmatch(number), (name, number)


def numbers_of(name, one):
    """The names of a measurement's numbers, none where it is refused."""
    return [*measure([one], [name]).found[one.label][name].numbers]


def test_panels_are_told_apart_by_subject_and_part():
    part = Panel("terms", "It is wide.", (Line("x", np.ones(1), np.ones(1)),), part="layer 0")
    found = Report("", {name: {"terms": Measured("terms", {}, (part,))} for name in ("lstm", "lstm, chrono")})
    names = list(found.panels("terms"))
    assert names == ["lstm, layer 0", "lstm, chrono, layer 0"]
    assert [owner(name, found.found) for name in [*names, "lstm"]] == ["lstm", "lstm, chrono", "lstm"]
    assert found.to_json()["subjects"]["lstm"]["terms"]["panels"][0]["part"] == "layer 0"


def test_layer_by_layer():
    two = subject("lstm", 2)
    lower, upper = two.layers.values()

    def size(path):
        lines = (Line("x", np.ones(1), np.ones(1)),)
        panels = (Panel("terms", "It is wide.", lines), Panel("remaining", "Much.", lines))
        return Measured("terms", {"width": float(path.xs.shape[-1])}, panels, ("a note",))

    def above(path):
        if path is lower:
            raise UserError("it is the lower one")
        return size(path)

    def nothing(path):
        raise UserError(f"{path.xs.ndim} axes")

    every = by_layer(two, PICTURES, size)
    assert every.numbers == {"0.width": 3.0, "1.width": 4.0} and every.notes == ("a note",) and every.measure == "terms"
    apart = [(panel.part, panel.seen, panel.lines[0].label) for panel in every.panels if panel.picture == "terms"]
    assert apart == [("layer 0", "It is wide.", "x"), ("layer 1", "It is wide.", "x")]
    (shared,) = [panel for panel in every.panels if panel.picture == "remaining"]
    assert [line.label for line in shared.lines] == ["0.x", "1.x"] and shared.part == ""
    assert shared.seen == "Layer 0: Much. Layer 1: Much."
    some = by_layer(two, PICTURES, above)
    assert some.numbers == {"1.width": 4.0} and some.notes[1] == "Layer 0 is left out: it is the lower one"
    assert refusal(lambda: by_layer(two, PICTURES, nothing)) == "3 axes"
    assert by_layer(subject("lstm"), PICTURES, size).numbers == {"width": 3.0}
    assert MEASURES["terms"](two).numbers["1.f"] == MEASURES["terms"](alone(two, upper)).numbers["f"]


def alone(two, path):
    """A subject of that layer."""
    one = of(Model(Stack(((path.cell,),)), 2, two.model.loss), "one")
    return replace(one, params=one.params | {f"0.{name}": w for name, w in path.params.items()}, xs=path.xs)


NOTHING = [
    (["lstm"], "input=0", 3),  # no state moves, so that two terms alone are there
    (["lstm-cifg", "gru"], "b=1e4", 3),  # all gates are stuck, and all slopes zero
    (["lstm-noaf", "lstm:peepholes=true"], None, 1),
    (["gru", "lstm"], "readout.W=zeros", 5),  # no error
    (["gru"], "U=zeros,readout.W=zeros", 4),
]


@pytest.mark.parametrize(("cells", "init", "steps"), NOTHING)
def test_where_there_is_next_to_nothing_no_sentence_has_a_nan(cells, init, steps):
    sizes = {"time_steps": steps, "batch": 2, "input_size": 1, "hidden_size": 3}
    report = measure(fresh_subjects(cells, [init], **sizes))
    panels = [panel for one in report.found.values() for m in one.values() for panel in m.panels]
    assert panels and not [panel.seen for panel in panels if "nan" in panel.seen or not panel.seen]
    assert all(panel.lines or panel.image is not None for panel in panels)  # there is something to draw
