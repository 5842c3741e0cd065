"""Where a loss is evaluated: on plain arrays, or on operands that carry more than a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from rnnbp.backends import Backend
from rnnbp.checking.operands.space import Space
from rnnbp.numerics import Array, Namespace

Loss: TypeAlias = Callable[[Mapping[str, Array]], Array]  # named tensors -> one number per copy


@dataclass(frozen=True)
class Arithmetic:
    """A namespace and the backend below it. `xp` is the backend's own, or a `Space` of operands over it."""

    backend: Backend
    xp: Namespace

    def constant(self, value: Any, dtype: str | None = None) -> Array:
        """A host array as a constant of this arithmetic."""
        array = self.backend.asarray(value, dtype)
        return self.xp.constant(array) if isinstance(self.xp, Space) else array

    @property
    def scanner(self) -> Backend | None:
        """The backend whose scans may be used: operands only go through the portable one."""
        return None if isinstance(self.xp, Space) else self.backend


def plain(backend: Backend) -> Arithmetic:
    """The backend's own arrays, real or complex."""
    return Arithmetic(backend, backend.xp)
