"""Random stacks with their weights, for the tests that take these to other libraries and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from helpers import relative_error
from hypothesis import settings
from hypothesis import strategies as st
from rnnbp_numpy import NumpyBackend

import rnnbp


class Portable(NumpyBackend):
    """NumPy without the loops that are compiled for each kind of cell: here is no time for that."""

    def scan(self, *_: Any, **__: Any) -> Any:
        return NotImplemented


HOST = Portable(**vars(rnnbp.backend("numpy")))
FEW = settings(max_examples=3, deadline=None, derandomize=True)


class Case(NamedTuple):
    """A stack, its parameters in float64, and a sequence of batches with the lengths of its members."""

    stack: rnnbp.Stack
    params: dict[str, np.ndarray]
    xs: np.ndarray  # (T, B, I)
    lengths: np.ndarray  # (B): at least 1, at most T
    rng: np.random.Generator

    def weights(self, dtype: str) -> dict[str, np.ndarray]:
        """The parameters in that precision, with one −0 among the biases."""
        params = {name: a.astype(dtype) for name, a in self.params.items()}
        if "0.b" in params:
            params["0.b"][0] = -0.0
        return params

    @property
    def mask(self) -> np.ndarray:
        """(T, B), false beyond the end of each."""
        return np.arange(len(self.xs))[:, None] < self.lengths

    def as_float32(self) -> Case:
        """The same in single precision."""
        weights = {name: a.astype("float32") for name, a in self.params.items()}
        return self._replace(params=weights, xs=self.xs.astype("float32"))


@st.composite
def cases(draw: st.DrawFn, *specs: str) -> Case:
    """Sizes, layers, directions and lengths at random, and a seed for the rest; the simplest is not a trivial one."""
    spec, layers, both = (draw(st.sampled_from(each)) for each in (specs, (2, 1, 3), (True, False)))
    n_in, hidden = draw(st.sampled_from((2, 1, 3, 4))), draw(st.sampled_from((3, 2, 1, 4)))
    hidden += spec.startswith("lstm-projected")  # whose projection is narrower
    stack = rnnbp.stack(spec, n_in, hidden, layers, both)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    t, b = draw(st.sampled_from((4, 1, 2, 5))), draw(st.sampled_from((3, 1, 2)))
    params = {name: rng.standard_normal(p.shape) for name, p in stack.params.items()}
    lengths = rng.integers(1, t, size=b, endpoint=True)
    lengths[rng.integers(b)] = t  # torch makes no steps beyond the longest
    return Case(stack, params, rng.standard_normal((t, b, n_in)), lengths, rng)


def same_bits(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """The same names, shapes, dtypes and bits: −0 is not 0."""
    assert list(found) == list(wanted)
    for name, a in wanted.items():
        assert (found[name].shape, found[name].dtype) == (a.shape, a.dtype), name
        assert found[name].tobytes() == a.tobytes(), name


def close(found: Any, wanted: Any, limit: float) -> None:
    """Relative error of an array below a limit."""
    assert relative_error(found, wanted) < limit
