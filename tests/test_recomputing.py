"""Recomputation by segments: the bits of the scan that keeps everything, twice the steps, and few values kept."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from cases import EVERY, MASK, RESETS, WAYS, case, make, wanted
from helpers import COPIES, STEP, B, Problem, agree, forward, gradients, named, on, portable, problem, refusal
from rnnbp_numpy import NumpyBackend
from rnnbp_numpy.buffered import scan as buffered

import rnnbp
from rnnbp import blocks
from rnnbp.blocks import block_steps
from rnnbp.recomputing import segment_steps, segments
from rnnbp.scanning import reference
from rnnbp.truncation import tbptt
from rnnbp.unrolling import unroll

LONG = 11  # steps, in blocks of two: two to six segments
FEW = ["lstm:peepholes=true", "gru:reset=before", "data", "no recurrent state"]


class Buffered(NumpyBackend):
    """What runs without numba."""

    def scan(self, cell, params, xs, s0, **options):
        return buffered(cell, params, xs, s0, **options)


class Portable(NumpyBackend):
    """The loop that runs everywhere."""

    def scan(self, cell, params, xs, s0, **options):
        return reference(self.xp, cell, params, xs, s0, **options)


PATHS = {"fast": NumpyBackend(), "buffered": Buffered(), "portable": Portable()}


@pytest.fixture
def short_blocks(monkeypatch):
    """Blocks of two steps."""
    monkeypatch.setattr(blocks, "ROWS", 2 * B)
    assert block_steps(B, 6) == 2


def flags(time_steps: int = LONG, batch: int = B) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"mask": rng.random((time_steps, batch)) < 0.8, "resets": rng.random((time_steps, batch)) < 0.2}


def everything(scanned, q: Problem, backend: rnnbp.Backend, *windows) -> dict[str, np.ndarray]:
    """All that a scan and its backward through each window give, as host arrays."""
    ys, s_T, backward = scanned
    found = {"ys": ys, **{f"s_T {k}": z for k, z in enumerate(s_T)}}
    for window in windows or (None,):
        found |= {f"{window} {n}": d for n, d in named(*backward(q.dys, q.ds_T, window), q.cell).items()}
    return {name: np.asarray(backend.to_numpy(a)) for name, a in found.items()}


def same_bits(found, expected) -> None:
    assert list(found) == list(expected)
    different = [name for name in expected if not np.array_equal(found[name], expected[name])]
    assert not different


def loop(cell, params, xs, s0, **options):
    """The plain loop, which is what a cell with a scan of its own gives way to."""
    rest = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
    return unroll(rnnbp.backend("numpy").xp, cell, params, xs, s0, **rest | options)


# ---- the same bits ---------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("steps", [1, "sqrt"])
@pytest.mark.parametrize("way", ["plain", "mask and resets", "mask, resets, reverse"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", EVERY)
def test_every_cell(name, path, way, steps):
    q, given, backend = problem(make(name), time_steps=LONG), flags(), PATHS[path]
    options = {n: given.get(n, True) for n in ("mask", "resets", "reverse") if n in way}
    options["backend"] = backend
    plain = forward(q, loop, **{n: v for n, v in options.items() if n != "backend"}) if name == "own scan" else None
    whole = plain or forward(q, **options)
    same_bits(everything(forward(q, remat=steps, **options), q, backend), everything(whole, q, backend))


AROUND = ["lstm/zoneout:rate=0.2/learned-start", "gru/recurrent-dropout:rate=0.3", "rnn/clip-errors:limit=0.1"]


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("spec", [*AROUND, "lstm-1997", "lstm-fgr", "gru", "lstm-layernorm", "lstm-projected", "rhn"])
def test_what_goes_around_cells_and_cells_of_other_kinds(spec, path):
    q, options = problem(rnnbp.cell(spec, 4, 6), time_steps=LONG), {**flags(), "backend": PATHS[path]}
    for window in (None, rnnbp.Window(1, 4, 9)):
        expected = everything(forward(q, **options), q, PATHS[path], window)
        same_bits(everything(forward(q, remat=4, **options), q, PATHS[path], window), expected)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("way", ["plain", "mask, resets, reverse"])
@pytest.mark.parametrize("name", FEW)
def test_every_backend(backend, name, way):
    q = on(backend, problem(make(name), time_steps=LONG))
    options = on(backend, flags()) | {"reverse": True} if way != "plain" else {}
    expected = everything(forward(q, **options), q, backend)
    same_bits(everything(forward(q, remat=3, **options), q, backend), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["lstm:peepholes=true", "elman", "gru:reset=before"])
@pytest.mark.parametrize("sizes", [(70, 32, 5, 7), (1030, 3, 3, 4), (1500, 1, 2, 3), (67, 64, 17, 33), (5, 1200, 2, 3)])
def test_blocks_and_products_of_many_sizes(sizes, name, path, dtype):
    """Also where a segment or a block has one row less or more than others, or one step: BLAS has code for each."""
    time_steps, batch, n_in, n = sizes
    q = problem(make(name, n_in, n), time_steps=time_steps, batch=batch, dtype=dtype)
    assert len(segments(time_steps, 1, block_steps(batch, n))) > 1
    expected = everything(forward(q, backend=PATHS[path]), q, PATHS[path])
    for steps in (1, 40):
        same_bits(everything(forward(q, remat=steps, backend=PATHS[path]), q, PATHS[path]), expected)


WINDOWS = [
    *tbptt(LONG, 2, 5),
    (0, 3, 4),
    (3, 8, 9),
    (4, 4, 11),
    rnnbp.Window(1, 5, 10, 0.7),
    rnnbp.Window(2, 2, 6, 0.5),
]


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", [*FEW, "several recurrent states", "split"])
def test_windows(name, path):
    q, options = problem(make(name), time_steps=LONG), {**flags(), "backend": PATHS[path]}
    expected = everything(forward(q, **options), q, PATHS[path], *WINDOWS)
    for steps in (2, 4, 6):
        same_bits(everything(forward(q, remat=steps, **options), q, PATHS[path], *WINDOWS), expected)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("path", PATHS)
def test_copies_complex_errors_and_errors_of_zero(path):
    q, rng, backend = problem(make("lstm:peepholes=true"), time_steps=LONG), np.random.default_rng(0), PATHS[path]
    copies = rng.standard_normal((2, *q.dys.shape))
    cases = [
        (q, {"dys": copies}),
        (q, {"ds_T": (rng.standard_normal((3, *q.ds_T[0].shape)), q.ds_T[1])}),
        (q, {"dys": copies[0] + 1j * copies[1]}),
        (q, {"ds_T": (1j * q.ds_T[0], q.ds_T[1])}),
        (q, {"dys": None}),
        (q, {"ds_T": None}),
        (q, {"ds_T": (None, q.ds_T[1]), "dys": None}),
        (q._replace(xs=rng.standard_normal((2, *q.xs.shape))), {}),
        (q._replace(params={**q.params, "U": rng.standard_normal((2, 1, *q.params["U"].shape))}), {"dys": copies}),
    ]
    for given, cotangents in cases:
        asked = given._replace(**cotangents)
        whole, again = forward(given, backend=backend), forward(given, remat=4, backend=backend)
        for window in (None, rnnbp.Window(1, 4, 9)):
            same_bits(everything(again, asked, backend, window), everything(whole, asked, backend, window))


@pytest.mark.usefixtures("short_blocks")
def test_without_a_first_state_and_with_a_learned_one():
    for spec in ("gru", "lstm/learned-start"):
        cell = rnnbp.cell(spec, 4, 6)
        q = problem(cell, time_steps=LONG)
        options = {"data": q.data or None, **flags()}
        whole, again = (rnnbp.scan(cell, q.params, q.xs, remat=k, **options) for k in (None, 4))
        same_bits(everything(again, q, PATHS["fast"]), everything(whole, q, PATHS["fast"]))


@pytest.mark.usefixtures("short_blocks")
def test_it_can_be_called_again():
    q = problem(make("lstm"), time_steps=LONG)
    scanned = forward(q, remat=4)
    first = everything(scanned, q, PATHS["fast"])
    scanned[2](None, q.ds_T, rnnbp.Window(2, 3, 5))
    same_bits(everything(scanned, q, PATHS["fast"]), first)


# ---- the gradients, by complex steps ---------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FEW)
def test_gradients_by_complex_steps(monkeypatch, backend, name, way):
    monkeypatch.setattr(blocks, "ROWS", B)
    agree(gradients(case(name), backend, remat=2, **WAYS[way]), wanted(name, way))


@pytest.mark.parametrize("name", FEW)
def test_complex_steps_pass_through(monkeypatch, name):
    monkeypatch.setattr(blocks, "ROWS", B)
    q = case(name)
    moved = q._replace(xs=q.xs + 1j * STEP * np.ones((COPIES, 1, 1, 1)))
    ys, s_T, _ = forward(moved, remat=2)
    for found, expected in zip((ys, *s_T), (lambda r: (r[0], *r[1]))(forward(moved)), strict=True):
        assert np.array_equal(found, expected) and np.any(np.imag(found))


# ---- what it costs ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Counting(rnnbp.Cell):
    """A cell that counts its steps, and how many of them are kept for a backward at once."""

    made: ClassVar[list[int]] = []
    alive: ClassVar[weakref.WeakSet] = weakref.WeakSet()

    @property
    def params(self):
        return {"w": rnnbp.Param((self.hidden_size,), lambda rng, shape: rng.standard_normal(shape))}

    def step(self, xp, p, x, s, e):
        del e
        h1 = xp.tanh(p["w"] * s[0] + x)

        def backward(ds1):
            d = ds1[0] * (1 - h1 * h1)
            return {"w": xp.sum(d * s[0], axis=-2)}, d, (d * p["w"],)

        Counting.alive.add(backward)
        Counting.made.append(len(Counting.alive))
        return (h1,), backward


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize(("asked", "most"), [(None, 64), (2, 2), (4, 4), (5, 6), ("sqrt", 8), (64, 64), (100, 64)])
def test_every_step_is_computed_twice_and_few_are_kept(asked, most):
    q = problem(Counting(6, 6), time_steps=64)
    Counting.made.clear()
    scanned = forward(q, remat=asked, backend=PATHS["portable"])
    ahead = len(Counting.made)
    assert ahead == 64
    if most < 64:
        assert max(Counting.made) <= 2  # a step's own and the one before it
    Counting.made.clear()
    everything(scanned, q, PATHS["portable"])
    assert len(Counting.made) == (64 if most < 64 else 0)
    assert max(Counting.made, default=most) <= most + 1  # the segment's own and, while it is replaced, one step


@pytest.mark.usefixtures("short_blocks")
def test_a_window_computes_the_steps_of_its_segments_again_and_no_others():
    q = problem(Counting(6, 6), time_steps=64)
    backward = forward(q, remat=8, backend=PATHS["portable"])[2]
    Counting.made.clear()
    backward(q.dys, q.ds_T, rnnbp.Window(20, 30, 35))
    assert len(Counting.made) == 35 - 16


@pytest.mark.parametrize("path", ["fast", "buffered"])
def test_what_the_fast_scans_keep(monkeypatch, path):
    """The most bytes that large arrays have at a time, through a forward and a backward of 64 blocks."""
    held = {"now": 0, "most": 0}

    def room(shape, dtype):
        found = np.empty(shape, dtype)
        held["now"] += found.nbytes
        held["most"] = max(held["most"], held["now"])
        weakref.finalize(found, lambda size=found.nbytes: held.update(now=held["now"] - size))
        return found

    from rnnbp_numpy import buffered as without
    from rnnbp_numpy import folding

    places = [without, folding]
    if NumpyBackend.path == "numba":
        from rnnbp_numpy import scanning

        places.append(scanning)
    for place in places:
        monkeypatch.setattr(place, "room", room)
    monkeypatch.setattr(blocks, "ROWS", 32)
    q = problem(rnnbp.cell("lstm", 4, 8), time_steps=256, batch=8)

    def most(remat):
        held.update(now=0, most=0)
        scanned = forward(q, remat=remat, backend=PATHS[path])
        everything(scanned, q, PATHS[path])
        return held["most"]

    assert 0 < most(16) < most(None) / 6


# ---- who does it, and what is refused --------------------------------------------------------------------------------
@pytest.mark.usefixtures("short_blocks")
def test_a_backend_that_cannot_gives_way_to_the_loop():
    class Other(NumpyBackend):
        recomputes = False

        def scan(self, cell, params, xs, s0, **options):
            assert "remat" not in options
            return super().scan(cell, params, xs, s0, **options)

    q = problem(make("lstm"), time_steps=LONG)
    expected = everything(forward(q, portable), q, PATHS["portable"])
    same_bits(everything(forward(q, remat=3, backend=Other()), q, PATHS["portable"]), expected)


@pytest.mark.usefixtures("short_blocks")
def test_torch_builds_no_graph():
    torch = pytest.importorskip("torch")
    q = on(rnnbp.backend("torch"), problem(make("lstm"), time_steps=LONG))
    ys, _, backward = forward(q._replace(params={n: p.requires_grad_() for n, p in q.params.items()}), remat=3)
    assert not ys.requires_grad and not any(d.requires_grad for d in backward(q.dys, q.ds_T)[0].values())
    assert torch.is_grad_enabled()


def test_what_is_refused():
    q = case("lstm")
    assert refusal(lambda: forward(q, remat=2, record=True)) == (
        "a record holds every step, and remat is for keeping few: leave one of the two out"
    )
    for wrong in (0, -1, 2.0, "third", True):
        said = f'remat must be a number of steps, at least 1, or "sqrt"; got {wrong!r}'
        assert refusal(lambda: forward(q, remat=wrong)) == said  # noqa: B023
    backward = forward(q, remat=1)[2]
    assert "a window needs" in refusal(lambda: backward(q.dys, q.ds_T, (0, 0, 99)))
    assert refusal(lambda: backward(q.dys[1:], q.ds_T)).startswith("dys must have shape")


def test_segments_tile_the_steps_and_end_where_blocks_do():
    for time_steps in (1, 2, 7, 12, 100):
        for steps in (1, 3, 10, 1000):
            for block in (1, 4, 32):
                found = segments(time_steps, steps, block)
                assert [t for lo, hi in found for t in range(lo, hi)] == list(range(time_steps))
                assert all(lo % block == 0 and hi - lo < steps + block for lo, hi in found)
    assert [segment_steps("sqrt", t) for t in (1, 2, 4, 5, 100, 10000)] == [1, 2, 2, 3, 10, 100]
    assert blocks.blocks(3, 9, 4) == [(3, 4), (4, 8), (8, 9)]


# ---- what is made of it ----------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacks_hand_it_down(bidirectional):
    made = rnnbp.stack("lstm", 4, 6, layers=2, bidirectional=bidirectional)
    params, rng = made.init(np.random.default_rng(0)), np.random.default_rng(1)
    xs, dys = rng.standard_normal((LONG, B, 4)), rng.standard_normal((LONG, B, made.output_size))

    def results(remat):
        ys, _, backward = made.scan(params, xs, remat=remat, **flags())
        windows = (None,) if bidirectional else (None, rnnbp.Window(1, 6, 9))
        gave = [backward(dys, None, window) for window in windows]
        return {"ys": ys} | {f"{k} {n}": d for k, g in enumerate(gave) for n, d in {**g[0], "xs": g[1]}.items()}

    same_bits(results(3), results(None))


@pytest.mark.usefixtures("short_blocks")
def test_a_model_takes_it():
    model = rnnbp.Model(rnnbp.stack("gru", 4, 6), 2, rnnbp.losses.MeanSquaredError())
    params, rng = model.init(np.random.default_rng(0)), np.random.default_rng(1)
    xs, targets = rng.standard_normal((LONG, B, 4)), rng.standard_normal((LONG, B, 2))
    (loss, _, backward), (again, _, recomputed) = (model(params, xs, targets, remat=k) for k in (None, "sqrt"))
    assert loss == again
    for windows in (None, tbptt(LONG, 2, 4)):
        same_bits(recomputed(windows)[0], backward(windows)[0])


@pytest.mark.usefixtures("short_blocks")
def test_training_takes_it(tmp_path):
    from rnnbp import training

    def trained(name, **options):
        config = training.Config(task="adding", time_steps=10, batch=B, hidden=4, steps=3, **options)
        return training.train(config, tmp_path / name).params

    same_bits(trained("recomputed", remat=2), trained("kept"))
    with pytest.raises(rnnbp.UserError, match="remat must be a number of steps"):
        training.Config(remat="half")


def test_mask_and_resets_of_the_cases_reach_every_segment(monkeypatch):
    """The suite's own flags, once in blocks of one step: a flag of another step would change numbers."""
    monkeypatch.setattr(blocks, "ROWS", B)
    q = case("lstm")
    found = gradients(q, PATHS["fast"], remat=1, mask=MASK, resets=RESETS)
    same_bits(found, gradients(q, PATHS["fast"], mask=MASK, resets=RESETS))
    turned = gradients(q, PATHS["fast"], remat=1, mask=np.roll(MASK, 1, axis=0), resets=RESETS)
    assert not np.array_equal(found["W"], turned["W"])
