"""What many test files share: one small random problem, numeric gradients by complex steps, and the error measure.

    q = problem(cell)                       read-only float64 host arrays: nothing in it is zero, equal or symmetric
    dL = gradients(q, backend, **options)   what scan's backward says, tensor by tensor, as host arrays
    nL = numeric(q, **options)              the same by complex steps through the portable forward, on NumPy
    agree(dL, nL)                           every tensor, to a tolerance that is derived from the dtype

`options` are those of `rnnbp.scan`. Everything has one set of sizes, (T, B, I, H): a library that compiles for every
shape does so once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from array_api_compat import array_namespace

import rnnbp
from rnnbp.scanning import reference

T, B, I, H = 5, 3, 4, 6
COPIES = 48  # evaluated side by side; one number for all, again for the sake of compilers
STEP = 1e-30


class Problem(NamedTuple):
    """A cell, all that its scan is given, and the cotangents of all that it returns."""

    cell: rnnbp.Cell
    params: dict[str, Any]
    xs: Any  # (T, B, I)
    s0: tuple[Any, ...]
    data: dict[str, Any]  # (T, B, *shape)
    dys: Any  # (T, B, O)
    ds_T: tuple[Any, ...]


def frozen(a: Any, dtype: str = "float64") -> np.ndarray:
    """A read-only host array: who writes to it is found out."""
    host = np.array(a, dtype=dtype)
    host.flags.writeable = False
    return host


def problem(cell: rnnbp.Cell, seed: int = 0, time_steps: int = T, batch: int = B, dtype: str = "float64") -> Problem:
    """The random problem of that seed; states, biases and the cotangents of outputs and last states are not zero."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return frozen(rng.standard_normal(shape), dtype)

    return Problem(
        cell,
        params={n: frozen(w + 0.3 * rng.standard_normal(w.shape), dtype) for n, w in cell.init(rng).items()},
        xs=normal(time_steps, batch, cell.input_size),
        s0=tuple(frozen(z, dtype) for z in cell.random_state(rng, batch)),
        data={n: frozen(rng.uniform(0, 1, (time_steps, batch, *shape)), dtype) for n, shape in cell.data.items()},
        dys=normal(time_steps, batch, cell.output_size),
        ds_T=tuple(normal(batch, *shape) for shape in cell.states.values()),
    )


def on(backend: rnnbp.Backend, x: Any) -> Any:
    """A problem, or any tuple, dictionary or array in one, with its host arrays moved to the backend."""
    if isinstance(x, Problem):
        return Problem(x.cell, *(on(backend, part) for part in x[1:]))
    if isinstance(x, Mapping):
        return {name: on(backend, value) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(on(backend, value) for value in x)
    return backend.asarray(x) if isinstance(x, np.ndarray) else x


def forward(q: Problem, way: Callable[..., Any] = rnnbp.scan, **options: Any) -> Any:
    """What scan, or another way with its arguments, gives for the problem."""
    return way(q.cell, q.params, q.xs, q.s0, data=q.data or None, **options)


def named(dp: Mapping[str, Any], dxs: Any, ds: tuple[Any, ...], cell: rnnbp.Cell) -> dict[str, Any]:
    """What a backward returns, by name: the parameters, xs, and s0.<state>."""
    return {**dp, "xs": dxs, **{f"s0.{state}": d for state, d in zip(cell.states, ds, strict=True)}}


def gradients(q: Problem, backend: rnnbp.Backend, window: Any = None, **options: Any) -> dict[str, np.ndarray]:
    """The gradients that scan's backward gives on a backend, as host arrays by name."""
    here = on(backend, q)
    _, _, backward = forward(here, **on(backend, options))
    return {name: backend.to_numpy(d) for name, d in named(*backward(here.dys, here.ds_T, window), q.cell).items()}


def portable(cell: rnnbp.Cell, params: Any, xs: Any, s0: Any, **options: Any) -> Any:
    """`rnnbp.scan` without a backend's fast path."""
    rest = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
    return reference(array_namespace(xs), cell, params, xs, s0, **rest | options)


def inner(ys: Any, s_T: tuple[Any, ...], dys: Any, ds_T: tuple[Any, ...]) -> Any:
    """Σ ys∘dys + Σ s_T∘ds_T, one number per copy: the scalar whose gradients a backward gives."""
    xp = array_namespace(ys)
    total = xp.sum(ys * dys, axis=(-3, -2, -1))
    for s, d in zip(s_T, ds_T, strict=True):
        total = total + xp.sum(s * d, axis=tuple(range(-d.ndim, 0)))
    return total


def tensors(q: Problem) -> dict[str, np.ndarray]:
    """Everything that has a gradient, named as in `named`."""
    return named(q.params, q.xs, q.s0, q.cell)


def replaced(q: Problem, name: str, value: Any) -> Problem:
    """The problem with one tensor of `tensors` exchanged."""
    if name == "xs":
        return q._replace(xs=value)
    if name.startswith("s0."):
        return q._replace(s0=tuple(value if f"s0.{n}" == name else z for n, z in zip(q.cell.states, q.s0, strict=True)))
    return q._replace(params={**q.params, name: value})


def numeric(q: Problem, way: Callable[..., Any] = portable, **options: Any) -> dict[str, np.ndarray]:
    """The gradients of the problem by complex steps on NumPy, through the portable forward."""
    host = rnnbp.backend("numpy")

    def slope(name: str, value: np.ndarray) -> np.ndarray:
        def loss(z: np.ndarray) -> np.ndarray:
            ys, s_T, *_ = forward(replaced(q, name, z), way, **options)
            return inner(ys, s_T, q.dys, q.ds_T)

        return complex_step(host, loss, value)

    return {name: slope(name, value) for name, value in tensors(q).items()}


def complex_step(backend: rnnbp.Backend, loss: Callable[[Any], Any], value: np.ndarray) -> np.ndarray:
    """The derivative of a loss, entry by entry: Im loss(value + ih e) / h, exact to rounding.

    The loss gets complex copies (COPIES, *value.shape) on the backend and returns one number per copy.
    """
    found = []
    for first in range(0, value.size, COPIES):
        entries = np.minimum(np.arange(first, first + COPIES), value.size - 1)  # the last chunk repeats its last entry
        units = np.zeros((COPIES, value.size))
        units[np.arange(COPIES), entries] = 1.0
        copies = loss(backend.asarray(value + 1j * STEP * units.reshape(COPIES, *value.shape), "complex128"))
        assert tuple(copies.shape) == (COPIES,), f"a loss gives one number per copy; got {copies.shape}"
        found.append(np.imag(backend.to_numpy(copies))[: value.size - first] / STEP)
    return np.concatenate(found).reshape(value.shape)


def follow(equation: Callable[..., Any], q: Problem) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Outputs and last states by a cell's equations, (parameters, x, *states) -> the new states, step by step."""
    s, ys = q.s0, []
    for x in q.xs:
        s = equation(q.params, x, *s)
        ys.append(s[0])
    return np.stack(ys), s


def sigma(a: Any) -> Any:
    """The logistic function as textbooks have it."""
    return 1 / (1 + np.exp(-a))


def relative_error(a: Any, n: Any) -> float:
    """‖a−n‖ / (‖a‖+‖n‖); two exact zeros agree. Different shapes never do, nor does what is not finite."""
    a, n = np.asarray(a), np.asarray(n)
    assert a.shape == n.shape, f"shapes differ: {a.shape} and {n.shape}"
    largest = max(np.max(np.abs(a)), np.max(np.abs(n)))
    if largest == 0:
        return 0.0
    a, n = a / largest, n / largest  # so that tiny numbers do not vanish when squared
    return float(np.linalg.norm(a - n) / (np.linalg.norm(a) + np.linalg.norm(n)))


def tolerance(dtype: str = "float64") -> float:
    """A rounding for each of the T B (I + H) products that an entry sums over, and 10 for how they add up: 3e-13."""
    return 10 * T * B * (I + H) * float(np.finfo(dtype).eps)


def agree(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], dtype: str = "float64") -> None:
    """Two sets of gradients have the same names and shapes, and agree."""
    assert list(found) == list(wanted)
    errors = {name: relative_error(found[name], wanted[name]) for name in wanted}
    wrong = {name: error for name, error in errors.items() if not error <= tolerance(dtype)}
    assert not wrong, f"above {tolerance(dtype):.1e}: {wrong}"


def refusal(call: Callable[[], Any]) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(rnnbp.UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    return message
