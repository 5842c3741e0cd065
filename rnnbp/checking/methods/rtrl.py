"""Real-time recurrent learning: the other exact algorithm for the gradient of a recurrent network.

Derivatives go forward in time beside the states (Williams & Zipser 1989, "A learning algorithm for continually running
fully recurrent neural networks", eq. 6). With θ all tensors in one row, parameters, X and the initial states,

    P_t = ∂s_t/∂θ = J_t P_{t−1} + F_t        J_t = ∂s_t/∂s_{t−1}    F_t = ∂s_t/∂θ within the step
    dL/dθ = Σ_t dy_t P_t + ds_T P_T

J_t and F_t are rows of the cell's own step backward, one basis cotangent per copy. So this method shares the step with
the backward that it checks, and none of its loop: **a fault of the loop shows, a fault inside the step does not**. With
complex steps, which see both, it tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.methods.jacobians import Step
from rnnbp.checking.methods.numeric import Asked, Whole
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window


def rtrl(problem: Problem, windows: Sequence[Window], backend: Backend, memory: int) -> list[HostArray]:
    """The gradients of Σ ys∘dys + Σ s_T∘ds_T in float64: of every parameter, of X (T, B, I), of every initial state.

    A window starts with P = 0 at `start`; the errors of its steps lo … stop−1 count. A masked step leaves state and P
    as they are. The time grows as (B H)² N per step for N entries in all: for small networks. Matrices that would take
    more than `memory` bytes are refused.
    """
    step = Step(problem, backend)
    live = max(sum(w.start <= t < w.stop for w in windows) for t in range(len(problem.xs)))
    need = 8 * step.states * (step.states + step.per_step + 2 * live * step.entries)
    if need > memory:
        raise UserError(
            f"method rtrl needs {need / 2**20:.3g} MiB for this problem and may take {memory / 2**20:.3g}: "
            "make the sizes smaller, or the memory larger"
        )
    total, s = np.zeros(step.entries), problem.s0
    begun: dict[Window, HostArray] = {}
    for t in range(len(problem.xs)):
        s, jacobian, inner = step(t, s)
        for window in windows:
            if not window.start <= t < window.stop:
                continue
            before = begun.pop(window, None)
            p = jacobian @ (step.first(window) if before is None else before)
            step.add(p, t, inner)
            if t >= window.lo:
                total += step.output_error(t) @ p
            if t + 1 < window.stop:
                begun[window] = p
            elif window.stop == len(problem.xs):
                total += np.concatenate([np.ravel(d) for d in problem.ds_T]) @ p
    return step.split(total)


class RTRL(Whole):
    """Real-time recurrent learning: derivatives go forward in time, with the cell's own step backward."""

    name = "rtrl"
    skips = ("step",)

    def unsuited(self, subject: Subject) -> str:
        if subject.problem is not None:
            return ""
        return f"method rtrl runs one cell over a sequence; got level {subject.level} of {subject.name}: use another"

    def gradients(self, asked: Asked) -> dict[str, HostArray]:
        subject = asked.subject
        if subject.problem is None:
            raise UserError(self.unsuited(subject))
        found = rtrl(subject.problem, subject.windows, asked.backend, asked.memory)
        return dict(zip(subject.tensors, found, strict=True))
