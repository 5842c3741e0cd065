"""In which directions the blocks of a tensor are measured: every entry, or random ±1 directions for each gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnbp.checking.methods.directions import cut, every_entry, signs
from rnnbp.numerics import HostArray


@dataclass(frozen=True, eq=False)
class Probes:
    """The directions for a tensor of that shape: without `drawn`, one for every entry.

    `groups` names the directions, or entries, of each gate; the whole tensor is the group "".
    """

    shape: tuple[int, ...]
    groups: dict[str, HostArray] = field(default_factory=dict)  # name -> numbers of directions
    drawn: HostArray | None = field(default=None, repr=False)  # (K, *shape)

    @property
    def count(self) -> int:
        """K, how many directions."""
        return int(np.prod(self.shape)) if self.drawn is None else len(self.drawn)

    @property
    def ending(self) -> tuple[int, ...]:
        """The shape of a block: the tensor's own where every entry is measured, else (K,)."""
        return self.shape if self.drawn is None else (self.count,)

    def directions(self, numbers: HostArray) -> HostArray:
        """The directions with these numbers, (n, *shape)."""
        if self.drawn is not None:
            return np.asarray(self.drawn[numbers])
        units = np.zeros((len(numbers), self.count))
        units[np.arange(len(numbers)), numbers] = 1.0
        return units.reshape(len(numbers), *self.shape)

    def of(self, gradient: HostArray) -> HostArray:
        """A gradient along every direction, (K,)."""
        flat = gradient.reshape(-1)
        return flat if self.drawn is None else np.array([np.sum(d.reshape(-1) * flat) for d in self.drawn])


def probes(name: str, shape: tuple[int, ...], gates: Sequence[str], seeds: Sequence[int], extent: str) -> Probes:
    """What suits a tensor whose last axis holds the gates side by side; `extent` as in `rnnbp.gradcheck`."""
    names, size = tuple(gates) if len(gates) > 1 else ("",), int(np.prod(shape))
    parts = cut(np.arange(size).reshape(shape), len(names))  # the entries of each gate
    if every_entry(extent, size):
        groups = {name: part.reshape(-1) for name, part in zip(names, parts, strict=True)}
        return Probes(shape, {"": np.arange(size), **({} if names == ("",) else groups)})
    drawn = np.zeros((len(names) * len(seeds), size), dtype=np.int8)
    for k, part in enumerate(parts):
        for j, seed in enumerate(seeds):
            drawn[k * len(seeds) + j, part.reshape(-1)] = signs(seed, name, shape).reshape(-1)[part.reshape(-1)]
    numbers = np.arange(len(drawn)).reshape(len(names), -1)
    groups = {"": np.arange(len(drawn))} | dict(zip(names, numbers, strict=True))
    return Probes(shape, groups, drawn.reshape(-1, *shape))
