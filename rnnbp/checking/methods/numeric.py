"""What a numeric method is asked, and what it answers: slopes of a subject's loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.metric import Discrepancy, compare
from rnnbp.checking.report import Finding
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

MEMORY = 64 * 2**20  # bytes
MOST_COPIES = 256  # beyond, copies × batch rows leave the cache and each copy gets slower


@dataclass(frozen=True)
class Asked:
    """The loss of a subject at its tensors, on a backend, in double precision.

    memory: bytes that copies may take; it changes the time, not the result. `advance` hears how many entries of a
    tensor are done. `memo` is for a method's own use: what it made for one tensor and needs for the next. dtype: of the
    backward that is checked. seed: of what a method draws.
    """

    subject: Subject
    backend: Backend
    memory: int = MEMORY
    advance: Callable[[int], None] = lambda _: None
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    dtype: str = "float64"
    seed: int = 0

    def once(self, method: str, what: Any, make: Callable[[], HostArray]) -> HostArray:
        """What a method says of the loss alone, made once and shared by subjects that differ in their backwards."""
        key = (method, what, self.backend)
        if key not in self.subject.shared:
            self.subject.shared[key] = make()
        found: HostArray = self.subject.shared[key]
        return found


class NumericMethod(ABC):
    """A way to differentiate a loss without its backward. All results are float64 host arrays."""

    name: ClassVar[str]
    stops: ClassVar[bool] = True  # whether it can judge where `detach` ends derivatives; differences see through it
    whole: ClassVar[bool] = False  # whether all entries come at once, so that directions would save nothing
    numeric: ClassVar[bool] = True  # whether it gives a gradient to compare with
    draws: ClassVar[int] = 0  # how many random directions stand for a tensor whatever the extent
    skips: ClassVar[tuple[str, ...]] = ()  # levels at which it would compare something with itself
    through_backward: ClassVar[bool] = False  # whether it differentiates the backward, by complex steps

    @abstractmethod
    def along(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        """Σ ∂loss/∂tensor ∘ direction for each of the directions (K, *shape): (K,)."""

    @abstractmethod
    def entries(self, asked: Asked, tensor: str) -> HostArray:
        """∂loss/∂tensor, every entry."""

    def along_columns(self, asked: Asked, tensor: str, part: HostArray, start: int) -> HostArray:
        """`along` for directions that are zero but for w columns of the last axis from `start` on: part (K, …, w)."""
        shape = asked.subject.tensors[tensor].shape
        return self.along(asked, tensor, part if part.shape[1:] == shape else padded(part, start, shape))

    def along_blocks(self, asked: Asked, tensor: str, directions: HostArray, blocks: int) -> HostArray:
        """`along` for each of `blocks` equal parts of the last axis, directions being zero outside it: (blocks, K)."""
        if blocks == 1:
            return self.along(asked, tensor, directions)[None, :]
        shape = directions.shape[1:]
        parts = [(part, k * part.shape[-1]) for k, part in enumerate(np.split(directions, blocks, axis=-1))]
        if 8 * blocks * directions.size > asked.memory // 4:
            return np.stack([self.along_columns(asked, tensor, part, start) for part, start in parts])
        together = np.concatenate([padded(part, start, shape) for part, start in parts])
        return self.along(asked, tensor, together).reshape(blocks, -1)

    def gradients(self, asked: Asked) -> dict[str, HostArray]:
        """∂loss/∂tensor for each tensor of the subject."""
        return {tensor: self.entries(asked, tensor) for tensor in asked.subject.tensors}

    def unsuited(self, subject: Subject) -> str:
        """Why it cannot be asked about this subject; empty if it can."""
        del subject
        return ""

    def refuses(self, cell: Cell) -> str:
        """Why it can say nothing of a cell, whatever the subject; empty if it can."""
        del cell
        return ""

    def judged(self, asked: Asked, tensor: str, analytic: HostArray, blocks: Sequence[str]) -> Discrepancy:
        """How far an analytic gradient is from the numeric one, every entry."""
        return compare(analytic, self.known_entries(asked, tensor), blocks)

    def known_entries(self, asked: Asked, tensor: str) -> HostArray:
        """`entries`, found once for all backwards that are held to one loss."""
        heard: list[int] = []

        def make() -> HostArray:
            heard.append(1)
            return self.entries(asked, tensor)

        found = asked.once(self.name, ("entries", tensor), make)
        if not heard:
            asked.advance(found.size)
        return found

    def instead(self, asked: Asked, tensor: str) -> tuple[NumericMethod, str] | None:
        """Another method that must take its place for a tensor, and why; None where its slopes stand.

        It is asked where a check fails, so that no right gradient fails by a weakness of the method.
        """
        del asked, tensor
        return None

    def findings(self, asked: Asked, tolerance: float) -> tuple[Finding, ...]:
        """What it found beside the errors of tensors, when all of them are judged."""
        del asked, tolerance
        return ()


class Whole(NumericMethod):
    """A method that gives all entries of all tensors at once."""

    whole = True

    @abstractmethod
    def gradients(self, asked: Asked) -> dict[str, HostArray]:
        """∂loss/∂tensor for each tensor of the subject."""

    def entries(self, asked: Asked, tensor: str) -> HostArray:
        if "gradients" not in asked.memo:
            asked.memo["gradients"] = self.gradients(asked)
        found: HostArray = asked.memo["gradients"][tensor]
        asked.advance(found.size)
        return found

    def along(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        if "gradients" not in asked.memo:
            asked.memo["gradients"] = self.gradients(asked)
        return np.array([float(np.sum(asked.memo["gradients"][tensor] * d)) for d in directions])


class Witness(NumericMethod):
    """A method that judges a gradient without having another one."""

    whole, numeric = True, False

    def along(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        del asked, tensor, directions
        raise UserError(f"method {self.name} has no numeric gradient to look at along directions: leave extent out")

    def entries(self, asked: Asked, tensor: str) -> HostArray:
        del asked, tensor
        raise UserError(f"method {self.name} has no numeric gradient: use method complex-step")

    @abstractmethod
    def judged(self, asked: Asked, tensor: str, analytic: HostArray, blocks: Sequence[str]) -> Discrepancy:
        """How far an analytic gradient is from being one."""


def padded(part: HostArray, start: int, shape: tuple[int, ...]) -> HostArray:
    """Columns of the last axis, from `start` on, with zeros beside them: (K, …, w) -> (K, *shape)."""
    whole = np.zeros((len(part), *shape), part.dtype)
    whole[..., start : start + part.shape[-1]] = part
    return whole


def copies_within(asked: Asked, tensor: str) -> int:
    """How many copies of a tensor fit: each holds its direction, its complex perturbation twice, and `work` numbers."""
    size = asked.subject.tensors[tensor].size
    each = 16 * (3 * size + asked.subject.work)
    return max(1, min(asked.memory // each, MOST_COPIES))


def in_chunks(asked: Asked, tensor: str, directions: HostArray, slopes: Callable[[HostArray], HostArray]) -> HostArray:
    """`slopes` of directions, as many at a time as fit."""
    copies = copies_within(asked, tensor)
    return np.concatenate([slopes(directions[k : k + copies]) for k in range(0, len(directions), copies)])


def of_units(asked: Asked, tensor: str, slopes: Callable[[HostArray], HostArray]) -> HostArray:
    """`slopes` of every unit tensor, in the tensor's shape.

    Chunks have one fixed size, so that a library that compiles for each shape does so once: the last one repeats its
    last entry.
    """
    shape = asked.subject.tensors[tensor].shape
    size = int(np.prod(shape))
    copies = min(copies_within(asked, tensor), size)
    found: list[HostArray] = []
    for first in range(0, size, copies):
        entries = np.minimum(np.arange(first, first + copies), size - 1)
        units = np.zeros((copies, size))
        units[np.arange(copies), entries] = 1.0
        found.append(slopes(units.reshape(copies, *shape))[: size - first])
        asked.advance(len(found[-1]))
    return np.concatenate(found).reshape(shape)
