"""Gradients checked along random directions: what is drawn, how it is judged, and that faults show."""

from __future__ import annotations

import json
from math import inf, isnan, nan

import numpy as np
import pytest
from helpers import refusal

import rnnbp
from rnnbp.checking import check_model
from rnnbp.checking.methods.directions import (
    DIRECTIONS,
    EXHAUSTIVE_UP_TO,
    STRATA,
    along_error,
    entry_error,
    signs,
    strata,
)
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.methods.tolerances import TOLERANCES
from rnnbp.checking.report import Report
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import setting, verify

JUDGED = sorted(name for name in METHODS if (name, "float64") in TOLERANCES and not METHODS[name].whole)
GATES = ("i", "f", "g", "o")


# ---- what is drawn ------------------------------------------------------------------------------------------------
def test_directions_are_signs_of_both_kinds_that_a_seed_gives_again():
    drawn = signs(3, "U", (200, 300))
    assert drawn.dtype == np.int8 and set(np.unique(drawn)) == {-1, 1}
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert np.array_equal(drawn, signs(3, "U", (200, 300)))
    for other in (signs(4, "U", (200, 300)), signs(3, "W", (200, 300))):
        assert abs(np.mean(drawn * other)) < 5 / np.sqrt(drawn.size)


def test_the_square_along_a_direction_is_the_square_of_the_norm_on_average():
    error = np.random.default_rng(0).standard_normal((7, 9))
    squares = [np.sum(error * signs(seed, "W", error.shape)) ** 2 for seed in range(4000)]
    spread = np.sqrt(2 / len(squares))  # of a mean of squares of nearly normal numbers
    assert np.mean(squares) == pytest.approx(np.sum(error**2), rel=5 * spread)


@pytest.mark.parametrize(
    ("shape", "blocks"), [((8, 12), 4), ((8, 12), 1), ((12,), 4), ((1,), 1), ((), 1), ((3, 2, 4), 1)]
)
def test_single_entries_come_from_every_part_of_every_block(shape, blocks):
    drawn = strata("W", shape, blocks, 0)
    size = int(np.prod(shape)) // blocks
    assert drawn.shape == (blocks, min(STRATA, size))
    flat = np.arange(size * blocks).reshape(shape)
    parts = np.split(flat, blocks, axis=-1) if blocks > 1 else [flat]
    for entries, part in zip(drawn, parts, strict=True):
        places = [int(np.flatnonzero(part.reshape(-1) == entry)[0]) for entry in entries]
        assert [k * size // len(places) <= place for k, place in enumerate(places)] == [True] * len(places)
        assert places == sorted(set(places))


# ---- how it is judged ---------------------------------------------------------------------------------------------
def test_two_zeros_agree_and_zero_against_anything_else_is_1():
    zero, one = np.zeros(4), np.array([0, 0, 1e-300, 0])
    assert along_error(zero, np.zeros(3), np.zeros(3)) == entry_error(zero, np.zeros(2), np.zeros(2)) == 0
    assert along_error(one, np.full(3, 1e-300), np.zeros(3)) == 1
    assert along_error(zero, np.zeros(3), np.full(3, 1e-300)) == 1
    assert entry_error(zero, np.zeros(2), np.array([0, 1e-300])) == 1


@pytest.mark.parametrize("bad", [nan, inf])
@pytest.mark.parametrize("side", range(3))
def test_what_is_not_finite_is_nan(bad, side):
    for measure in (along_error, entry_error):
        given = [np.ones(3), np.ones(3), np.ones(3)]
        given[side][1] = bad
        with np.errstate(invalid="ignore"):
            assert isnan(measure(*given))


def test_tiny_gradients_do_not_underflow():
    a = np.array([3e-250, 4e-250])
    assert along_error(a, np.array([7e-250]), np.array([7e-250 + 5e-256])) == pytest.approx(5e-256 / 7e-250, rel=1e-6)


# ---- one tensor ---------------------------------------------------------------------------------------------------
def squares(shape, fault, blocks=()):
    """Σ c w²/2 with its gradient c w, which `fault` changes."""
    rng = np.random.default_rng(0)
    w, c = rng.standard_normal(shape), rng.standard_normal(shape)

    def loss(where):
        weights = where.constant(c / 2, "float64")
        return lambda given: where.xp.sum(given["w"] * given["w"] * weights, axis=tuple(range(-len(shape), 0)))

    return Subject("squares", {"w": w}, loss, lambda _: {"w": fault(c * w)}, 4 * w.size, blocks={"w": blocks})


def changed(place, size):
    """A gradient with one entry off by `size` of the largest."""

    def fault(gradient):
        wrong = gradient.copy()
        wrong[place] += size * np.max(np.abs(gradient))
        return wrong

    return fault


def judged(subject, method="complex-step", extent="directional", **options):
    return verify(subject, setting("numpy", "float64", method, "full", extent, **options))[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("blocks", [(), GATES])
def test_one_entry_of_16384_off_by_1e_8_of_the_largest_fails_and_is_found(seed, blocks):
    right, place = judged(squares((128, 128), lambda g: g, blocks), seed=seed), (77, 103)
    assert right.passed and right.error < 1e-13
    check = judged(squares((128, 128), changed(place, 1e-8), blocks), seed=seed)
    assert not check.passed and check.error > 3e-10
    assert check.index == place and check.analytic == pytest.approx(check.numeric, abs=1e-6)
    assert [name for name, error in check.blocks.items() if error > check.tolerance] == ["o"] * bool(blocks)


def test_errors_that_sum_to_zero_are_seen():
    """Directions of one sign would pass this."""

    def shifted(gradient):
        noise = np.random.default_rng(1).standard_normal(gradient.shape)
        return gradient + 1e-6 * (noise - noise.mean())

    assert not judged(squares((64, 64), shifted)).passed


def test_a_small_block_cannot_hide_behind_a_large_one():
    """Gate f's gradients are a millionth of the others', and wrong by a millionth of that."""
    scales = np.repeat([1.0, 1e-6, 1.0, 1.0], 16) * np.ones((16, 1))
    wrong = scales * np.where(scales < 1, 1 + 1e-6, 1.0)

    def loss(where):
        return lambda given: where.xp.sum(given["w"] * where.constant(scales, "float64"), axis=(-2, -1))

    check = judged(Subject("scaled", {"w": np.ones((16, 64))}, loss, lambda _: {"w": wrong}, 1, blocks={"w": GATES}))
    assert not check.passed and 16 <= check.index[1] < 32
    assert max(check.blocks, key=check.blocks.get) == "f" and np.linalg.norm(wrong - scales) < 1e-10 * np.linalg.norm(
        scales
    )


@pytest.mark.parametrize("wrong", [nan, inf])
def test_an_entry_that_is_not_finite_is_found(wrong):
    def fault(gradient):
        broken = gradient.copy()
        broken[3, 41] = wrong
        return broken

    check = judged(squares((20, 64), fault, GATES))
    assert isnan(check.error) and check.index == (3, 41) and np.isfinite(check.numeric)


def test_more_directions_of_other_seeds_can_be_asked_for():
    check = judged(squares((9, 9), lambda g: g), directions=5, seed=7)
    assert check.directions == 5 and check.seeds == (7, 8, 9, 10, 11) and check.passed


@pytest.mark.parametrize("memory", [1, 10**5, 10**8])
@pytest.mark.parametrize("method", JUDGED)
def test_memory_changes_the_chunks_and_not_the_result(memory, method):
    check = verify(
        squares((20, 12), lambda g: g, GATES), setting("numpy", "float64", method, "full", "directional"), memory
    )
    assert check[0].passed and check[0].directions == DIRECTIONS


# ---- the choice ---------------------------------------------------------------------------------------------------
def test_small_subjects_are_checked_exhaustively_and_large_ones_along_directions():
    fits, exceeds = squares((40, 50), lambda g: g), squares((29, 69), lambda g: g)
    assert fits.tensors["w"].size == EXHAUSTIVE_UP_TO < exceeds.tensors["w"].size
    assert judged(fits, extent="auto").directions == 0 and judged(exceeds, extent="auto").directions == DIRECTIONS
    assert judged(fits, extent="directional").directions == DIRECTIONS
    assert judged(exceeds, extent="exhaustive").directions == 0


def test_the_report_says_which_and_names_the_seeds():
    several = [judged(squares((3, 4), lambda g: g), extent=extent, seed=4) for extent in ("exhaustive", "directional")]
    assert ", exhaustive, seed 4" in Report((several[0],), 4).title
    assert ", directional (seeds 4, 5, 6), seed 4" in Report((several[1],), 4).title
    assert ", exhaustive and directional (seeds 4, 5, 6)" in Report(tuple(several), 4).title
    found = json.loads(json.dumps(Report(tuple(several), 4).to_json(), allow_nan=False))["checks"]
    assert [(check["directions"], check["seeds"]) for check in found] == [(0, []), (3, [4, 5, 6])]


def test_wrong_words_and_numbers_are_refused():
    assert "unknown extent 'some'" in refusal(lambda: rnnbp.gradcheck("rnn", extent="some"))
    assert "did you mean directional" in refusal(lambda: rnnbp.gradcheck("rnn", method="directonal"))
    for count in (2, 0, -1, 3.0, True):
        line = refusal(lambda count=count: rnnbp.gradcheck("rnn", extent="directional", directions=count))
        assert "directions must be an integer of at least 3" in line
    contradiction = refusal(lambda: rnnbp.gradcheck("rnn", method="directional", extent="exhaustive"))
    assert "got extent exhaustive" in contradiction
    for call in (lambda **w: rnnbp.gradcheck("rnn", **w), lambda **w: rnnbp.gradcheck(np.tanh, 1.0, **w)):
        line = refusal(lambda call=call: call(extent="exhaustive", directions=5))
        assert "every entry and no directions; got 5" in line
    assert "takes a Model" in refusal(lambda: check_model("lstm", np.zeros((2, 1, 1)), np.zeros((2, 1, 1))))
