"""Pictures of reports: what is on their axes, in which colours, and that all of it can be read."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from flow_reports import NAMES, RATES, T, layered, report
from flow_reports import PICTURES as MADE
from flow_subjects import subject
from helpers import refusal

from rnnbp import colours
from rnnbp.benching.plotting import plainly
from rnnbp.flow import measures
from rnnbp.flow.measures.found import Axis, Line, Panel
from rnnbp.flow.pictures.points import left_out
from rnnbp.flow.reports import measure

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from rnnbp.flow.pictures.drawing import draw  # noqa: E402
from rnnbp.flow.pictures.figures import edges, figure_of, marked_points, settings  # noqa: E402
from rnnbp.flow.pictures.looks import DASHES, MARKERS, PRINT, SCREEN, Style  # noqa: E402

pytestmark = pytest.mark.usefixtures("made")


@pytest.fixture
def made(monkeypatch):
    for name, picture in MADE.items():
        monkeypatch.setitem(measures.PICTURES, name, picture)


@pytest.fixture
def figure():
    """Makes a figure, laid out as it would be written."""

    def make(subjects, picture, look=PRINT, of=None):
        found = figure_of(of or report(subjects), picture, look)
        found.draw_without_rendering()
        return found

    with matplotlib.rc_context(settings(PRINT)):
        yield make


def drawn(axes):
    """The curves on axes: points of lines, heights of bars."""
    return [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines]


# colours


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    c = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_known_pairs():
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )


@pytest.mark.parametrize(("theme", "list_"), [("light", colours.LIGHT), ("dark", colours.DARK)])
def test_lines_stand_out_from_the_ground_and_text_more_so(theme, list_):
    paper = colours.PAPER[theme]
    assert len(set(list_)) == len(list_) == 7 and min(contrast(c, paper) for c in list_) >= 3
    assert min(contrast(colours.INK[theme], paper), contrast(colours.LINK[theme], paper)) >= 4.5
    assert contrast(colours.FAINT[theme], paper) < min(contrast(c, paper) for c in list_)


# Machado, Oliveira & Fernandes 2009, table 1, severity 1: no red, green, blue cones
CONES = [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
]
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(linear):
    """CIE 1976 L*a*b* of linear sRGB."""
    x = linear @ TO_XYZ.T / TO_XYZ.sum(1)
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("list_", [colours.LIGHT, colours.DARK])
def test_every_eye_tells_the_colours_apart(list_):
    """A difference of 10 is plain side by side; Okabe & Ito's own seven are 16 apart at the least."""
    c = np.array([[int(h[k : k + 2], 16) / 255 for k in (1, 3, 5)] for h in list_])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    for cones in CONES:
        seen = lab(np.clip(linear @ np.transpose(cones), 0, 1))
        nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        assert nearest > 12, nearest


@pytest.mark.parametrize("picture", MADE)
def test_a_subject_has_its_colour_in_every_picture(figure, picture):
    grid = [axes for axes in figure(3, picture).axes if axes.get_visible()]
    if MADE[picture].together:
        seen = list(dict.fromkeys(colour for colour, *_ in drawn(grid[0])))
        assert seen == list(colours.LIGHT[:3])
    else:  # a panel each, whose name stands beside the colour
        names = [axes.get_legend() for axes in grid[:3]]
        assert [to_hex(n.get_patches()[0].get_facecolor()) for n in names] == list(colours.LIGHT[:3])
        assert [n.get_texts()[0].get_text().replace("\n", " ") for n in names] == list(NAMES[:3])


def test_a_subject_that_has_no_part_of_a_picture_keeps_its_place(figure):
    whole = report(3)
    without = type(whole)("", {n: {k: m for k, m in one.items() if n != "lstm"} for n, one in whole.found.items()})
    assert [c for c, *_ in drawn(figure(0, "made decay", of=without).axes[0])] == list(colours.LIGHT[1:3])


def test_layers_have_panels_in_the_colour_of_their_network(figure):
    names = [axes.get_legend() for axes in figure(0, "made bars", of=layered()).axes[:3]]
    assert [n.get_texts()[0].get_text().replace("\n", " ") for n in names] == [
        "lstm, layer 0",
        "lstm, layer 1",
        NAMES[1],
    ]
    seen = [to_hex(n.get_patches()[0].get_facecolor()) for n in names]
    assert seen == [colours.LIGHT[0], colours.LIGHT[0], colours.LIGHT[1]]


def test_lines_of_one_subject_differ_by_dash_and_marker(figure):
    lines = drawn(figure(1, "made gates").axes[0])
    assert len(lines) == 8 and len({c for c, *_ in lines}) == 1
    assert len({line._unscaled_dash_pattern[1] for line in figure(1, "made gates").axes[0].lines}) == len(DASHES)
    names = tuple(map(str, range(len(DASHES) * len(MARKERS))))
    style = Style(("a",), names)
    assert len({str(sorted(style.marks(name, "line").items())) for name in names}) == len(names) == 42
    assert style.marks("0", "dashed")["linestyle"] != "-" and style.marks("0", "points")["linestyle"] == "none"


def test_beyond_seven_subjects_each_has_a_panel(figure):
    one = report(1).found["lstm"]
    many = type(report(1))("", {f"cell {k}": one for k in range(8)})
    assert len(figure(0, "made decay", of=many).axes) == 8
    seven = type(many)("", dict(list(many.found.items())[:7]))
    assert len(figure(0, "made decay", of=seven).axes) == 1


# what is drawn


def test_curves_are_those_of_the_report_on_the_axes_of_the_picture(figure):
    axes = figure(2, "made decay").axes[0]
    for line, rate in zip(axes.lines, RATES, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), rate ** np.arange(T))
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    axes = figure(2, "made gates").axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_what_a_logarithm_has_no_place_for_is_left_out_and_said(figure):
    made = figure(1, "made gates")
    assert all(np.isnan(line.get_ydata()[[0, 5]]).all() for line in made.axes[0].lines)  # lag 0, and the zero
    assert not any(np.isnan(line.get_ydata()[[1, 4, 6]]).any() for line in made.axes[0].lines)
    said = " ".join(text.get_text() for text in made.findobj(Text)).replace("\n", " ")
    assert "Values not drawn: 16 zero or less than 10⁻²⁰⁰ (the scale is logarithmic)." in said
    assert "not drawn" not in "".join(text.get_text() for text in figure(1, "made decay").findobj(Text))


def test_gaps_are_not_counted_and_infinite_values_are():
    line = Line("a", np.arange(4), np.array([np.nan, 0.0, np.inf, 1.0]))
    assert left_out([Panel("made decay", "", (line,))], MADE["made decay"]) == (
        "Values not drawn: 1 zero or less than 10⁻²⁰⁰ (the scale is logarithmic), 1 infinite or more than 10²⁰⁰."
    )
    assert (
        left_out([Panel("made bars", "", (line,))], MADE["made bars"])
        == "Values not drawn: 1 infinite or more than 10²⁰⁰."
    )
    assert left_out([Panel("made map", "", image=np.array([[0.0, np.nan], [1.0, -2.0]]))], MADE["made map"]) == (
        "Values not drawn: 2 zero or less than 10⁻²⁰⁰ (the scale is logarithmic)."
    )


def test_heat_maps_share_a_scale_that_is_named(figure):
    made = figure(3, "made map")
    panels, bar = [a for a in made.axes if a.images], made.axes[-1]
    assert len(panels) == 3 and len({(a.images[0].norm.vmin, a.images[0].norm.vmax) for a in panels}) == 1
    assert panels[0].images[0].norm.vmax == 1 and panels[0].images[0].norm.vmin == RATES[2] ** (T - 1)
    assert bar.get_ylabel() == "norm of dL_t/dU_s" and bar.get_yscale() == "log"
    values = panels[0].images[0].get_array()
    assert values.mask[20, 3] and values.mask[0, 1] and not values.mask[1, 0]
    assert panels[0].get_ylim()[0] < panels[0].get_ylim()[1]  # the first row is below
    assert panels[0].images[0].get_extent() == [0.5, T + 0.5, 0.5, T + 0.5]  # steps count from 1
    panels[0].set(xlim=(0.5, 2.5), ylim=(0.5, 2.5))
    assert all(tick == round(tick) for tick in (*panels[0].get_xticks(), *panels[0].get_yticks()))


def test_bars_end_half_way_to_the_next():
    bars = MADE["made bars"]
    np.testing.assert_allclose(
        edges(Line("", np.array([0.125, 0.375, 0.625]), np.ones(3), "bars"), bars), [0, 0.25, 0.5, 0.75]
    )
    np.testing.assert_allclose(edges(Line("", np.array([2.0]), np.ones(1), "bars"), bars), [1.5, 2.5])
    scale = bars.__class__("", "", Axis("", log=True), Axis(""))
    np.testing.assert_allclose(edges(Line("", np.array([1.0, 4.0]), np.ones(2), "bars"), scale), [0.5, 2, 8])


def test_markers_are_few_and_spread_along_the_axis():
    x = np.arange(1, 501)
    for picture in ("made decay", "made gates"):  # a linear and a logarithmic axis
        found = marked_points(Line("", x, 1.0 / x), MADE[picture], 0)
        assert 6 <= len(found) <= 8 and found[0] == 0
        gaps = np.diff(np.log(x[found]) if picture == "made gates" else x[found])
        assert gaps.max() < 1.5 * gaps.mean()
    np.testing.assert_array_equal(
        marked_points(Line("", x[:6], np.array([1, 2, 0, 4, np.nan, 6])), MADE["made decay"], 0), [0, 1, 3, 5]
    )


@pytest.mark.parametrize(
    "values", [np.zeros(5), np.full(5, np.nan), np.full(5, 5e-324), np.array([1e308, 1e-308, 1, 1, 1])]
)
def test_extreme_values_are_no_accident(figure, values):
    panel = Panel("made decay", "", (Line("a", np.arange(5), values),))
    image = Panel("made map", "", image=np.tile(values, (3, 1)))
    of = report(1)
    only = type(of)("", {"a": {"made": of.found["lstm"]["made"].__class__("made", panels=(panel, image))}})
    for picture in ("made decay", "made map"):
        figure(0, picture, of=only)


# names


def test_lines_are_named_at_their_ends_where_there_is_room(figure):
    texts = [text.get_text() for text in figure(1, "made decay").axes[0].texts]
    assert texts == ["lstm"]
    both = report(3)
    short = type(both)("", {n: both.found[n] for n in ("lstm", "rnn")})
    assert [text.get_text() for text in figure(0, "made decay", of=short).axes[0].texts] == ["lstm", "rnn"]
    assert not figure(1, "made gates").axes[0].texts  # eight ends too near each other


def legends(made):
    return [[text.get_text() for text in legend.get_texts()] for part in made.subfigs for legend in part.legends]


def test_a_legend_names_lines_or_colours_and_marks_whichever_is_shorter(figure):
    assert legends(figure(1, "made gates")) == [[f"{w} {g}" for w in "WU" for g in "ifog"]]
    subjects, lines = legends(figure(3, "made bound"))
    assert subjects == list(NAMES[:3]) and lines == ["truth", "bound", "odd"]
    assert legends(figure(3, "made bars")) == [["i", "f", "o"]]  # their panels have the subjects' names


def check_layout(made, look):
    """No word is small, sticks out or lies over another part."""
    width, height = made.get_size_inches() * made.dpi
    assert made.get_size_inches()[0] == look.width and PRINT.width == 6.5
    assert min(t.get_fontsize() for t in made.findobj(Text) if t.get_text().strip()) >= 8
    parts = made.subfigs or [made]
    boxes = [axes.get_tightbbox() for axes in made.axes if axes.get_visible()]  # with the words at its ticks
    boxes += [legend.get_window_extent() for part in parts for legend in part.legends]
    outer = [text.get_window_extent() for part in {*parts, made} for text in part.texts if text.get_text()]
    assert boxes and len(outer) >= 2  # both axes are named
    for box in boxes + outer:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, box
    for a, b in itertools.combinations(boxes + outer, 2):
        lapping = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(lapping) <= 2, (a, b)


@pytest.mark.parametrize("look", [PRINT, SCREEN])
@pytest.mark.parametrize(("subjects", "picture"), [(n, p) for n in (1, 4) for p in MADE])
def test_every_word_is_large_enough_and_inside(figure, subjects, picture, look):
    check_layout(figure(subjects, picture, look), look)


def test_pictures_of_what_is_measured_are_as_legible(figure):
    found = measure([subject("lstm", layers=2), subject("gru")])
    assert len(found.pictures) > 15
    for k, picture in enumerate(found.pictures):
        look = (PRINT, SCREEN)[k % 2]
        made = figure(0, picture, look, of=found)
        check_layout(made, look)
        curves = [np.asarray(line.get_ydata(), float) for axes in made.axes for line in axes.lines]
        assert all(np.isfinite(y).any() for y in curves), picture


@pytest.mark.parametrize(
    ("x", "said"), [(1.0, "1"), (0.02, "0.02"), (1500, "1500"), (1e-7, "10⁻⁷"), (3e-7, "3·10⁻⁷"), (2e12, "2·10¹²")]
)
def test_numbers_at_axes_are_written_as_by_hand(x, said):
    assert plainly(x) == said


# files


def test_numbers_at_an_axis_are_apart(figure):
    of = measure([subject("rnn", 2)], ["saturation"])  # two panels with values from −1 to 1
    for axes in figure(0, "candidates", SCREEN, of).findobj(matplotlib.axes.Axes):
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert all(right.x0 - left.x1 > left.height / 2 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_report_gives_the_same_file(tmp_path, ending):
    for picture in ("made gates", "made map"):
        for name in "ab":
            draw(report(2), picture, tmp_path / f"{name}.{ending}")
        first, second = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert first == second and len(first) > 5000
        assert first.startswith(b"\x89PNG" if ending == "png" else b"<?xml")


def test_the_settings_of_others_are_left_alone(tmp_path):
    before = {name: matplotlib.rcParams[name] for name in settings(PRINT)}
    draw(report(1), "made decay", tmp_path / "a.svg")
    assert {name: matplotlib.rcParams[name] for name in before} == before
    text = (tmp_path / "a.svg").read_text()
    assert "lag u, steps back</text>" in text and "<dc:date>" not in text


def test_what_cannot_be_drawn_is_refused_in_a_line(tmp_path, monkeypatch):
    assert "unknown picture of this report 'made': did you mean made" in refusal(
        lambda: draw(report(1), "made", tmp_path / "a.png")
    )
    said = refusal(lambda: draw(report(1), "made decay", tmp_path / "a.pdf"))
    assert said == "a picture is written as PNG or SVG; got a.pdf: end its name in .png or .svg"
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'rnnbp[plot]'" in refusal(lambda: draw(report(1), "made decay", tmp_path / "a.png"))
    assert not list(tmp_path.iterdir())


def test_matplotlib_waits_until_something_is_drawn_and_needs_no_display():
    code = (
        "import sys, rnnbp.flow.pictures.page, rnnbp.flow.pictures.drawing as d, numpy as np, tempfile, pathlib\n"
        "from rnnbp.flow.measures.found import Line, Measured, Panel\n"
        "assert 'matplotlib' not in sys.modules\n"
        "panel = Panel('error', '', (Line('a', np.arange(3), np.ones(3)),))\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    report = d.Report('', {'a': {'lags': Measured('lags', panels=(panel,))}})\n"
        "    d.draw(report, 'error', pathlib.Path(folder, 'a.png'))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
