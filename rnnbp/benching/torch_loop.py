"""The peer for cells that torch.nn lacks: a torch.nn.Module that loops in Python over time, with autograd.

It is written as well as such a module can be: the input product of all steps is made before the loop, U is multiplied
and added in one call, and the steps are taken apart by `unbind`, whose backward is one `stack`. A cell for which no
module is written here has its own `step` run under autograd. This module imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, addmm, nn, sigmoid, tanh

from rnnbp.backends import Backend
from rnnbp.benching.contenders import Contender
from rnnbp.benching.problems import Problem
from rnnbp.benching.torch_peer import by_autograd, is_textbook
from rnnbp.numerics import HostArray


class Loop(nn.Module):  # type: ignore[misc]
    """A cell's parameters by our names and in our layout."""

    def __init__(self, problem: Problem, on: Backend) -> None:
        super().__init__()
        self.cell = problem.cell
        self.names = {name: name.replace(".", "_") for name in problem.params}  # start.h: torch takes no dot in a name
        for name, value in problem.params.items():
            self.register_parameter(self.names[name], nn.Parameter(on.asarray(value)))

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters by our names."""
        return {name: self.get_parameter(theirs) for name, theirs in self.names.items()}

    def projected(self, xs: Tensor) -> tuple[Tensor, ...]:
        """The input part x W + b of every step."""
        ax = xs.flatten(0, 1) @ self.W
        ax = ax + self.b if self.cell.bias else ax
        return ax.unflatten(0, xs.shape[:2]).unbind(0)  # type: ignore[no-any-return]

    def zeros(self, xs: Tensor) -> Tensor:
        """An initial state."""
        return xs.new_zeros(xs.shape[1], self.cell.hidden_size)


class LSTM(Loop):
    """Long short-term memory, with or without peepholes."""

    def forward(self, xs: Tensor) -> Tensor:
        h = c = self.zeros(xs)
        ys = []
        for ax in self.projected(xs):
            i, f, g, o = addmm(ax, h, self.U).chunk(4, -1)
            if self.cell.peepholes:
                i, f = i + self.pi * c, f + self.pf * c
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            o = o + self.po * c if self.cell.peepholes else o
            h = sigmoid(o) * tanh(c)
            ys.append(h)
        return torch.stack(ys)


class MGU(Loop):
    """The minimal gated unit with its gate after the recurrent product."""

    def forward(self, xs: Tensor) -> Tensor:
        h = self.zeros(xs)
        ys = []
        for ax in self.projected(xs):
            (f, v), (hf, u) = ax.chunk(2, -1), (h @ self.U).chunk(2, -1)
            f = sigmoid(f + hf)
            n = tanh(v + f * u)
            h = h + f * (n - h)
            ys.append(h)
        return torch.stack(ys)


class OwnStep(Loop):
    """Any cell: its `step`, one after the other."""

    def __init__(self, problem: Problem, on: Backend) -> None:
        super().__init__(problem, on)
        self.xp, self.data = on.xp, {name: on.asarray(d) for name, d in problem.data.items()}

    def forward(self, xs: Tensor) -> Tensor:
        parameters = self.weights
        s, _ = self.cell.start(self.xp, parameters, xs.shape[1], xs)
        ys = []
        for t, x in enumerate(xs.unbind(0)):
            s, _ = self.cell.step(self.xp, parameters, x, s, {name: d[t] for name, d in self.data.items()})
            ys.append(s[0])
        return torch.stack(ys)


# by the name of the cell's class: a plugin is not imported here
MODULES: dict[str, type[Loop]] = {"rnnbp.cells.lstm.LSTM": LSTM, "rnnbp_mgu.MGU": MGU}


def torch_loop(problem: Problem, on: Backend) -> Contender:
    """The module for a problem's cell, on a device of the torch backend."""
    kind = type(problem.cell)
    made = MODULES.get(f"{kind.__module__}.{kind.__qualname__}", OwnStep)
    made = made if made is OwnStep or is_textbook(problem.cell, kind, "peepholes") else OwnStep
    module = made(problem, on)

    def renamed(grads: dict[str, HostArray]) -> dict[str, HostArray]:
        return {f"d{name}": d for name, d in grads.items()}

    name = "torch loop" if made is not OwnStep else "torch loop over step"
    return by_autograd(name, on, problem, module, module.weights, renamed)
