"""Answers as such: whole, readable, with numbers as a reader expects them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from explained import answer
from helpers import refusal

from rnnbp.explaining import QUESTIONS, Formula, Table, question
from rnnbp.explaining.answers import fixed, num, percent
from rnnbp.explaining.examples import BATCH, HIDDEN, INPUTS, example


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_is_whole(name):
    found = answer(name)
    assert (found.name, found.question) == (name, QUESTIONS[name].text) and found.question.endswith("?")
    assert found.short.endswith(".") and found.commands and found.numbers
    assert all(part.endswith((".", ":")) for part in found.parts if isinstance(part, str))
    for part in found.parts:
        if isinstance(part, Table):
            assert part.rows and {len(row) for row in part.rows} == {len(part.head)}
        if isinstance(part, Formula):
            assert max(map(len, part.lines)) <= 78  # in a terminal of 80, with two before
    assert not any(math.isnan(value) for value in found.numbers.values())
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["name"] == name


def test_an_example_is_that_of_its_sizes_and_seed():
    one, two, other = example("lstm", 5), example("lstm", 5), example("lstm", 5, seed=1)
    assert one.path.xs.shape == (5, BATCH, INPUTS) and one.dys.shape == (5, BATCH, HIDDEN)
    assert np.array_equal(one.path.xs, two.path.xs) and not np.array_equal(one.path.xs, other.path.xs)


def test_an_unknown_question_names_the_known_ones():
    said = refusal(lambda: question("deltass"))
    assert "did you mean deltas" in said and all(name in said for name in QUESTIONS)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (num(-0.123456), "−0.123"),
        (num(4.4e-16, 2), "4.4e-16"),
        (fixed(-0.0004), "0.000"),
        (fixed(-1.5, 2), "−1.50"),
        (fixed(-math.inf), "−∞"),
        (percent(0.337), "34 %"),
    ],
)
def test_numbers_in_sentences(written, wanted):
    assert written == wanted
