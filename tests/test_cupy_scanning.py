"""The CuPy backend's scan in host memory: the generated kernels, compiled for the host, against the portable scan.

No GPU takes part. What runs is the text that a GPU would get and the scan that would run it; NumPy stands for CuPy and
for cuBLAS, a loop over all threads for a launch.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from cases import MASK, RESETS, WAYS, wanted
from fast_cells import FUSED, OFF, PLUGGED, PORTABLE, cell, check_against_portable, declined, results
from helpers import B, H, I, T, agree, forward, frozen, gradients, named, portable, problem, relative_error, tolerance
from host_device import Host, OnHost, needs_a_compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from rnnbp_cupy.scanning import scan

import rnnbp

pytestmark = needs_a_compiler


def fused(cell, params, xs, s0, device=None, **options):
    """The scan on the host; it is a failure if it declines."""
    found = scan(device or Host(), cell, params, xs, s0, **OFF | options)
    assert found is not NotImplemented
    return found


# ---- against the portable scan ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUSED)
def test_it_equals_the_portable_scan(name, way, dtype):
    check_against_portable(fused, name, way, dtype)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(FUSED),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 9), st.integers(1, 41)),
    flags=st.sets(st.sampled_from(["mask", "resets", "reverse"])),
    seed=st.integers(0, 1000),
)
def test_any_sizes(name, sizes, flags, seed):
    steps, batch, n_in, n = sizes
    rng = np.random.default_rng(seed)
    options = {flag: rng.random((steps, batch)) < 0.6 for flag in flags - {"reverse"}} | {"reverse": "reverse" in flags}
    q = problem(cell(name, n_in, n), seed, steps, batch)
    found, expected = results(q, fused, **options), results(q, portable, **options)
    for key in expected:  # a rounding for each of the T B (I + H) products, as in `tolerance`, and at least that one's
        limit = tolerance() * max(1, steps * batch * (n_in + n) / (T * B * (I + H)))
        assert relative_error(found[key], expected[key]) <= limit, key


def test_more_threads_than_one_block():
    q = problem(cell("lstm:peepholes=true", 3, 150), time_steps=3, batch=2)
    agree(results(q, fused, mask=MASK[:3, :2]), results(q, portable, mask=MASK[:3, :2]))


@pytest.mark.parametrize("name", FUSED)
def test_without_cotangents_and_with_some(name):
    q = problem(cell(name))
    (*_, ours), (*_, theirs) = (
        forward(q, fused, **WAYS["mask and resets"]),
        forward(q, portable, **WAYS["mask and resets"]),
    )
    some = (None, *q.ds_T[1:])
    for cotangents in ((), (q.dys,), (None, q.ds_T), (q.dys, some)):
        found, expected = (named(*back(*cotangents), q.cell) for back in (ours, theirs))
        agree(found, expected)


@pytest.mark.parametrize("name", FUSED)
def test_the_portable_door_finds_complex_steps(name):
    """`rnnbp.scan` with a backend whose fast scan this is, against derivatives that know nothing of it."""
    if name in PLUGGED:
        pytest.skip("its complex steps are those of the plugin's own tests")
    q = problem(cell(name))
    found = rnnbp.scan(q.cell, q.params, q.xs, q.s0, data=q.data or None, **WAYS["mask and resets"], backend=OnHost())
    assert found[2].__qualname__.startswith("backward_of")
    agree(named(*found[2](q.dys, q.ds_T), q.cell), wanted(name, "mask and resets"))
    assert gradients(q, OnHost()).keys() == wanted(name, "plain").keys()


FAULTS = {
    "an error flows back over a reset": ("over ? real(0) : ", ""),
    "a reset is forgotten on the way forward": ("= fresh ? ", "= false ? "),
    "U sees a state that was reset": ("store(over ? ", "store(false ? "),
    "a masked step changes the state": ("_left = on ? ", "_left = true ? "),
    "a masked step has an output": ("store(on ? ", "store(true ? "),
    "an error goes through a masked step": ("if (!on) {", "if (false) {"),
    "a parameter's gradient is not summed": ("[at] += ", "[at] = "),
    "outputs count outside of the window": ("(with_dys ? ", "(true ? "),
    "what U sends back is forgotten": ("(later >= 0 ? ", "(false ? "),
    "a column of dz": ("dz[wide + 1 * H]", "dz[wide + 2 * H]"),
    "a kept value in another's place": ("xW[gates + 0 * H] = ", "xW[gates + 1 * H] = "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault):
    q, options = problem(cell("lstm:peepholes=true")), WAYS["mask and resets"]
    spoiled = partial(fused, device=Host(FAULTS[fault]))
    found, expected = (results(q, way, [None, (1, 3, 5)], **options) for way in (spoiled, portable))
    assert max(relative_error(found[n], expected[n]) for n in expected) > 1e6 * tolerance()


# ---- the contract ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FUSED)
def test_a_second_backward_gives_the_same_bits(name):
    q = problem(cell(name), dtype="float32")
    *_, backward = forward(q, fused, **WAYS["mask and resets"])
    first = named(*backward(q.dys, q.ds_T), q.cell)
    backward(2 * q.dys, q.ds_T, (1, 2, 4))
    again = named(*backward(q.dys, q.ds_T), q.cell)
    assert all(np.array_equal(first[n], again[n]) for n in first)


@pytest.mark.parametrize("name", FUSED)
def test_what_is_returned_is_read_only_and_the_backward_does_not_hang_on_it(name):
    q = problem(cell(name))
    ys, s_T, backward = forward(q, fused)
    assert not ys.flags.writeable and not any(z.flags.writeable for z in s_T)
    first = named(*backward(q.dys, q.ds_T), q.cell)
    for a in (ys, *s_T):
        a.base[...] = np.nan  # on a GPU, arrays can be written to
    again = named(*backward(q.dys, q.ds_T), q.cell)
    assert all(np.array_equal(first[n], again[n]) for n in first)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_what_pads_a_sequence_may_be_anything(name, reverse):
    q, options = problem(cell(name)), {"mask": MASK, "resets": RESETS, "reverse": reverse}
    blank = {n: np.where(MASK[:, :, None], d, np.nan) for n, d in q.data.items()}
    spoiled = q._replace(
        xs=np.where(MASK[:, :, None], q.xs, np.nan), data=blank, dys=np.where(MASK[:, :, None], q.dys, np.nan)
    )
    found, expected = results(spoiled, fused, **options), results(q, fused, **options)
    assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUSED)
def test_a_forward_alone_keeps_nothing_and_gives_the_same_bits(name, way):
    q = problem(cell(name), dtype="float32")
    ys, s_T, backward = forward(q, partial(fused, keep=False), **WAYS[way])
    kept = forward(q, fused, **WAYS[way])
    assert backward is None
    assert np.array_equal(ys, kept[0]) and all(np.array_equal(a, b) for a, b in zip(s_T, kept[1], strict=True))


@pytest.mark.parametrize("name", FUSED)
def test_one_product_and_one_kernel_a_step(name):
    q, device = problem(cell(name)), Host()
    *_, backward = forward(q, partial(fused, device=device), **WAYS["mask and resets"])
    fed = T if q.cell.recurrent else 0
    assert (device.launches, device.products) == (T, fed + 1)
    backward(q.dys, q.ds_T)
    back = T if set(q.cell.gates) - set(q.cell.cut) and q.cell.recurrent else 0
    whole = 2 + ("U" in q.params) + ("b" in q.params)  # dW and dX, dU, db
    assert (device.launches, device.products) == (2 * T, fed + 1 + back + whole)


@pytest.mark.parametrize("name", FUSED)
def test_arrays_that_do_not_lie_row_by_row(name):
    q = problem(cell(name))
    turned = q._replace(
        params={n: frozen(np.swapaxes(v, 0, -1).copy()).swapaxes(0, -1) for n, v in q.params.items()},
        xs=frozen(q.xs.swapaxes(0, -1).copy()).swapaxes(0, -1),
        s0=tuple(frozen(z.T).T for z in q.s0),
        dys=frozen(q.dys[::-1])[::-1],
        ds_T=tuple(frozen(d.T).T for d in q.ds_T),
    )
    agree(results(turned, fused), results(q, portable))


@pytest.mark.parametrize("name", FUSED)
def test_cotangents_with_copies_and_complex_ones(name):
    """A backward is linear: what it gives for several cotangents, or for complex ones, is what they give each."""
    q, rng, options = problem(cell(name)), np.random.default_rng(1), WAYS["mask and resets"]
    dys = frozen(rng.standard_normal((2, 1, *q.dys.shape)))
    ds_T = tuple(frozen(rng.standard_normal((3, *d.shape))) for d in q.ds_T)
    turned = frozen(q.dys + 1j * rng.standard_normal(q.dys.shape), "complex128")
    (*_, ours), (*_, theirs) = forward(q, fused, **options), forward(q, portable, **options)
    for cotangents in ((dys, ds_T), (dys, None), (None, ds_T), (turned, q.ds_T), (q.dys, tuple(1j * d for d in ds_T))):
        found, expected = (named(*back(*cotangents), q.cell) for back in (ours, theirs))
        for n in expected:  # what does not depend on the cotangents may have been broadcast
            assert relative_error(*np.broadcast_arrays(found[n], expected[n])) <= tolerance(), n


# ---- what is left to the portable path -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PORTABLE)
def test_cells_without_kernels_are_declined(name):
    assert "plain Cell" in declined(name) or "own" in declined(name)
    assert forward(problem(cell(name)), partial(_raw)) is NotImplemented


def _raw(cell, params, xs, s0, **options):
    rest = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
    return scan(Host(), cell, params, xs, s0, **rest | options)


def test_copies_complex_numbers_and_records_are_declined():
    q = problem(cell("lstm:peepholes=true"))
    assert forward(q, _raw, record=True) is NotImplemented
    assert forward(q._replace(xs=q.xs[None]), _raw) is NotImplemented
    assert forward(q._replace(s0=tuple(z[None] for z in q.s0)), _raw) is NotImplemented
    assert forward(q._replace(params={**q.params, "pi": q.params["pi"][None]}), _raw) is NotImplemented
    assert forward(q._replace(xs=q.xs + 0j), _raw) is NotImplemented
    assert forward(q._replace(params={**q.params, "U": q.params["U"] + 0j}), _raw) is NotImplemented
    data = problem(cell("data"))
    assert forward(data._replace(data={"kept": data.data["kept"][None]}), _raw) is NotImplemented


def test_a_cell_with_an_affine_part_of_its_own_is_declined():
    class Scaled(type(cell("rnn"))):
        def project(self, xp, p, x):
            return 2 * super().project(xp, p, x)

    q = problem(Scaled(I, H))
    assert forward(q, _raw) is NotImplemented
    message = _refused(lambda: rnnbp_cupy_source(q.cell))
    assert "own project" in message and "portable" in message


def rnnbp_cupy_source(made, dtype="float32"):
    from rnnbp.registry import BACKENDS

    return BACKENDS.load("cupy").generated(made, dtype)


def _refused(call):
    from helpers import refusal

    return refusal(call)
