"""The kinks of a subject's loss, found by evaluating it: how near they are, and which perturbations turn one."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.kinks.gaps import Watch, Watched
from rnnbp.checking.operands.arithmetic import Arithmetic
from rnnbp.checking.subjects.subject import Subject
from rnnbp.numerics import Array, HostArray


class Bends:
    """The kinks of a subject's loss, found by evaluating it."""

    def __init__(self, subject: Subject, backend: Backend) -> None:
        self._heard: list[HostArray] = []
        softmax = subject.level in ("loss", "model")  # there may be one
        hear = lambda gap: self._heard.append(np.asarray(backend.to_numpy(gap)))
        self._space = Watch(backend.xp, hear, reductions=not softmax)
        self._loss = subject.loss(Arithmetic(backend, self._space))
        self._point = {n: backend.asarray(v, "float64") for n, v in subject.tensors.items()}
        self.gaps = self.at({})  # at the subject's tensors

    def at(self, replaced: Mapping[str, Array]) -> list[HostArray]:
        """The gap of each kink, in the order of the evaluation, with some tensors replaced, by copies perhaps."""
        self._heard.clear()
        self._loss({n: Watched(self._space, v, live=True) for n, v in (self._point | dict(replaced)).items()})
        return list(self._heard)

    @property
    def detaches(self) -> bool:
        """Whether derivatives end somewhere though values do not: cut gates, `rnnbp.detach`."""
        return self._space.detaches

    @property
    def nearest(self) -> float:
        """The smallest gap that is not zero; infinite without kinks. One of exactly zero is there by construction, as
        where a ReLU looks at what a ReLU gave.
        """
        sizes = [np.abs(gap[gap != 0]) for gap in self.gaps]
        return float(min((np.min(size) for size in sizes if size.size), default=inf))

    def turned(self, replaced: Mapping[str, Array], copies: int) -> HostArray:
        """For each copy, whether the sign of some gap is another one than at the subject's tensors: (copies,)."""
        found = np.zeros(copies, dtype=bool)
        for here, there in zip(self.gaps, self.at(replaced), strict=True):
            if there.ndim > here.ndim:  # else it does not depend on what was replaced
                found |= np.any((np.sign(there) != np.sign(here)).reshape(copies, -1), axis=1)
        return found
