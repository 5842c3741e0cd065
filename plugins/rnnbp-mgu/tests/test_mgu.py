"""The minimal gated unit: the equations, its gradients, and that rnnbp finds it by name."""

from __future__ import annotations

import ast
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import rnnbp_mgu

import rnnbp

T, B, SIZE_IN, SIZE = 4, 2, 3, 5
ATOL = 4 * T * (SIZE_IN + SIZE) * np.finfo(np.float64).eps  # a rounding per product and step; values are of order 1


def problem(seed=0, reset="after", bias=True):
    rng = np.random.default_rng(seed)
    cell = rnnbp.cell("mgu", SIZE_IN, SIZE, reset=reset, bias=bias)
    p = {name: rng.standard_normal(value.shape) for name, value in cell.init(rng).items()}
    return cell, p, rng.standard_normal((T, B, SIZE_IN)), (rng.standard_normal((B, SIZE)),)


def as_written(p, xs, h, reset):
    """The equations of the paper (or of the variant), with the textbook sigmoid and nothing hoisted."""
    ys = []
    b = p.get("b", np.zeros(2 * SIZE))
    for x in xs:
        f = 1 / (1 + np.exp(-(x @ p["W"][:, :SIZE] + h @ p["U"][:, :SIZE] + b[:SIZE])))
        inner = (f * h) @ p["U"][:, SIZE:] if reset == "before" else f * (h @ p["U"][:, SIZE:])
        candidate = np.tanh(x @ p["W"][:, SIZE:] + inner + b[SIZE:])
        h = (1 - f) * h + f * candidate
        ys.append(h)
    return np.stack(ys)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reset", ["after", "before"])
def test_forward_is_the_formula(reset, bias):
    cell, p, xs, s0 = problem(reset=reset, bias=bias)
    ys, (last,), _ = rnnbp.scan(cell, p, xs, s0)
    wanted = as_written(p, xs, s0[0], reset)
    np.testing.assert_allclose(ys, wanted, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(last, ys[-1])


@pytest.mark.parametrize("backend", ["numpy", "strict"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reset", ["after", "before"])
def test_gradients(reset, bias, backend):
    report = rnnbp.gradcheck(rnnbp.cell("mgu", SIZE_IN, SIZE, reset=reset, bias=bias), backend=backend, dtype="float64")
    assert report.passed, report


class WrongAfter(rnnbp_mgu.MGU):
    """The error of the gate is 0.1 % too large."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)

        def backward(ds1):
            (df, dv, du), ds, dp = back(ds1)
            return (1.001 * df, dv, du), ds, dp

        return s1, backward


class WrongBefore(rnnbp_mgu.ResetBeforeMGU):
    """The gradient of U is 0.1 % too large."""

    def step(self, xp, p, x, s, e):
        s1, back = super().step(xp, p, x, s, e)

        def backward(ds1):
            dp, dx, ds = back(ds1)
            return dp | {"U": 1.001 * dp["U"]}, dx, ds

        return s1, backward


@pytest.mark.parametrize("wrong", [WrongAfter, WrongBefore])
def test_a_wrong_backward_fails(wrong):
    assert not rnnbp.gradcheck(wrong(SIZE_IN, SIZE), backend="numpy", dtype="float64").passed


def test_both_forms_agree_where_the_product_commutes_with_the_gate():
    """For a diagonal U_n, (f ∘ h) U_n = f ∘ (h U_n): values and gradients agree, but for U_n's off-diagonal."""
    (after, p, xs, s0), (before, *_) = problem(), problem(reset="before")
    p["U"][:, SIZE:] *= np.eye(SIZE)
    dys = np.random.default_rng(1).standard_normal((T, B, SIZE))
    results = [rnnbp.scan(cell, p, xs, s0) for cell in (after, before)]
    (of_after, dx_after, ds_after), (of_before, dx_before, ds_before) = (back(dys) for *_, back in results)
    close = {"rtol": 0, "atol": ATOL}
    np.testing.assert_allclose(results[0][0], results[1][0], **close)
    np.testing.assert_allclose(dx_after, dx_before, **close)
    np.testing.assert_allclose(ds_after[0], ds_before[0], **close)
    for name in ("W", "b"):
        np.testing.assert_allclose(of_after[name], of_before[name], **close)
    np.testing.assert_allclose(np.diag(of_after["U"][:, SIZE:]), np.diag(of_before["U"][:, SIZE:]), **close)
    assert np.max(np.abs(of_after["U"] - of_before["U"])) > 1e-3


def test_the_two_forms_differ():
    cell, p, xs, s0 = problem()
    before = rnnbp.cell("mgu:reset=before", SIZE_IN, SIZE)
    assert {n: s.shape for n, s in cell.params.items()} == {n: s.shape for n, s in before.params.items()}
    assert np.max(np.abs(rnnbp.run(cell, p, xs, s0)[0] - rnnbp.run(before, p, xs, s0)[0])) > 1e-2


def test_found_by_name():
    (entry,) = (e for e in entry_points(group="rnnbp.cells") if e.name == "mgu")
    assert entry.dist.name == "rnnbp-mgu"
    assert entry.load() is rnnbp_mgu.mgu
    assert isinstance(rnnbp.cell("mgu", SIZE_IN, SIZE), rnnbp.PointwiseCell)
    assert not isinstance(rnnbp.cell("mgu", SIZE_IN, SIZE, reset="before"), rnnbp.PointwiseCell)


def test_an_unknown_reset_is_one_line():
    with pytest.raises(rnnbp.UserError, match="^reset must be after or before; got 'never'$"):
        rnnbp.cell("mgu:reset=never", SIZE_IN, SIZE)


def test_only_public_names_are_used():
    """Every import from rnnbp is `from rnnbp import …`: what a third party can rely on."""
    tree = ast.parse(Path(rnnbp_mgu.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {m for m in modules if m and m.startswith("rnnbp")} == {"rnnbp"}
