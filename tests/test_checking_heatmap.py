"""Heat maps: shades follow the logarithm, marks are never lost, and a picture fits where it is shown."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp.checking.drawing import heatmap
from rnnbp.checking.drawing.pictures import picture


def names(n):
    return [str(k) for k in range(n)]


def test_shades_follow_the_logarithm():
    values = np.array([[1.0, 1e-2, 1e-4, 1e-6, 0.0, np.nan]])
    _, line, legend = heatmap.text(values, ["r"], names(6))
    assert line.split()[1:] == ["██", "▓▓", "▒▒", "░░", "·", "??"] and "· zero" in legend
    assert [heatmap.shade(v, heatmap.thresholds(values)) for v in (1.0, 1e-6, 0.0)] == [3, 0, None]


def test_all_zero_is_said():
    lines = heatmap.text(np.zeros((2, 2)), names(2), names(2))
    assert all(line.count("·") == 2 for line in lines[1:3]) and heatmap.thresholds(np.zeros((2, 2))) == []
    assert "<svg" in picture(np.zeros((2, 2)), names(2), names(2))


@pytest.mark.parametrize("size", [1, 5, 24, 30, 60, 73, 200, 1000])
def test_every_size_fits_and_no_mark_is_lost(size):
    wrong = np.zeros((size, size), dtype=bool)
    wrong[-1, 0] = wrong[0, -1] = True
    lines = heatmap.text(np.ones((size, size)), names(size), names(size), wrong)
    assert max(map(len, lines)) <= 80 and len(lines) <= heatmap.TALLEST + 3
    rows = [line for line in lines[1:] if "wrong" not in line]
    assert sum(line.count("!") for line in rows) == wrong.sum()
    assert "!" in rows[0] and "!" in [row for row in rows if "each place" not in row][-1]


def test_the_picture_marks_what_is_wrong_and_says_the_values():
    wrong = np.array([[True, False]])
    page = picture(np.array([[1.0, 1e-3]]), ["0"], names(2), wrong, title="a < b", notes=[["one", "two & more"]])
    assert page.count("#d00000") == 1 and "<title>one</title>" in page and "two &amp; more" in page
    assert "a &lt; b" in page and page.startswith("<svg") and page.endswith("</svg>")


def test_a_large_picture_is_pooled_and_no_mark_is_lost():
    wrong = np.zeros((1000, 1000), dtype=bool)
    wrong[-1, 0] = True
    page = picture(np.ones((1000, 1000)), names(1000), names(1000), wrong)
    assert page.count("<rect") == 100 * 100 and page.count("#d00000") == 1 and "10×10" in page
