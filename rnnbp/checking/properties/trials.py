"""A function with its backward, run once on a backend's own arrays: outputs, and gradients by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from rnnbp.checking.properties.pullbacks import Pullback
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import Array, HostArray

Make: TypeAlias = Callable[[HostArray], Array]  # a host array -> one of the backend
Cotangents: TypeAlias = Mapping[str, HostArray | None]


class Trial:
    """A forward with inputs and cotangents that `make` made of the host's: `hosts` and `given` hold them by name."""

    def __init__(self, pullback: Pullback, how: Setting, make: Make) -> None:
        self.pullback, self.how, self.make = pullback, how, make
        self.hosts = {**pullback.inputs, **{f"d{n}": d for n, d in pullback.cotangents.items()}}
        self.given = {n: make(v) for n, v in self.hosts.items()}
        self.outputs, self._pull = pullback.run(how.backend, {n: self.given[n] for n in pullback.inputs})

    def backward(self) -> dict[str, Array]:
        """The gradients for the cotangents given, by the names of their tensors."""
        return self._pull({n: self.given[f"d{n}"] for n in self.pullback.cotangents})

    def of(self, cotangents: Cotangents) -> dict[str, HostArray]:
        """The gradients for cotangents from the host, as host arrays."""
        found = self._pull({n: None if d is None else self.make(d) for n, d in cotangents.items()})
        return {n: np.asarray(self.how.backend.to_numpy(d)) for n, d in found.items()}

    @property
    def rounding(self) -> float:
        """What equal gradients may differ by, relative to their norm: half of the digits, √eps. Sums that cancel lose
        some of the others, and what is not equal is off by far more.
        """
        return float(np.sqrt(np.finfo(self.how.dtype).eps))


def owned(how: Setting) -> Make:
    """Arrays that nobody else holds and that may be written to, floating ones in the dtype that is checked."""
    return lambda value: how.backend.asarray(np.array(value, dtype=_dtype(value, how), order="C"))


def read_only(how: Setting) -> Make:
    """Arrays that cannot be written to, where the library has such (NumPy's, and all of JAX's)."""

    def make(value: HostArray) -> Array:
        host = np.array(value, dtype=_dtype(value, how), order="C")
        host.flags.writeable = False
        return how.backend.asarray(host)

    return make


def strided(how: Setting) -> Make:
    """Views whose entries lie apart, and the last axis slowest, where the library has views."""
    xp, make = how.backend.xp, owned(how)

    def spread(value: HostArray) -> Array:
        turned = make(value.T)
        apart = xp.stack([turned, xp.zeros_like(turned)], axis=-1)[..., 0]
        return xp.permute_dims(apart, tuple(reversed(range(value.ndim))))

    return spread


def _dtype(value: HostArray, how: Setting) -> str:
    return how.dtype if np.issubdtype(value.dtype, np.floating) else str(value.dtype)
