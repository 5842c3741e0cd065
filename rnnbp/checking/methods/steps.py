"""A namespace for complex steps in which tanh is as fast as a real one."""

from __future__ import annotations

from typing import Any

from rnnbp.backends import Backend
from rnnbp.numerics import Array, Namespace


class Stepped:
    """The namespace `base`, with tanh(x + iy) made of real functions."""

    def __init__(self, base: Namespace) -> None:
        self.base = base
        self.__name__ = base.__name__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)

    def tanh(self, a: Array) -> Array:
        """With t = tanh x and k = tan y, exactly (t + ik) / (1 + ikt): (t (1 + k²) + ik (1 − t²)) / (1 + t²k²)."""
        xp = self.base
        if not xp.isdtype(a.dtype, "complex floating"):
            return xp.tanh(a)
        t, k = xp.tanh(xp.real(a)), xp.tan(xp.imag(a))
        below = 1 + (t * k) ** 2
        return t * (1 + k * k) / below + 1j * (k * (1 - t * t) / below)


def stepped(backend: Backend) -> Namespace:
    """The backend's namespace for complex steps: NumPy's complex tanh takes 16 times as long as its real one."""
    return Stepped(backend.xp) if backend.name == "numpy" else backend.xp
