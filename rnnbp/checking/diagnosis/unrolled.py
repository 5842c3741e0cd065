"""A cell's sequence on a tape, step by step, with every place at which a loop over time can go wrong kept by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnbp.checking.diagnosis.tape import Change, Node, Tape
from rnnbp.checking.subjects.problems import Problem, tensor_names
from rnnbp.interruptions import Interruptions
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window

Gradients = dict[str, HostArray]


class Unrolled:
    """The forward of a problem on a tape. `gradients` are what a backward returns, right or with one change."""

    def __init__(self, problem: Problem) -> None:
        cell, self.problem = problem.cell, problem
        xs_name, s0_names = tensor_names(cell)
        self.names = (xs_name, *s0_names)
        self.tape = tape = Tape()
        self.time_steps = problem.xs.shape[0]
        mask = None if problem.mask is None else tape.constant(problem.mask)
        trailing = tuple(1 + len(shape) for shape in cell.states.values())
        between = Interruptions(tape, mask, None, (), trailing)
        self.start = [tape.leaf(z, "state", n) for n, z in zip(cell.states, problem.s0, strict=True)]
        s: tuple[Node, ...] = tuple(self.start)
        self.entered: list[tuple[Node, ...]] = []  # by step: the states before it
        self.left: list[tuple[Node, ...]] = []  # the states after it, where no mask interferes
        self.outputs: list[Node] = []
        self.params: list[dict[str, Node]] = []  # each step's own copy
        self.xs: list[Node] = []
        for t in range(self.time_steps):
            tape.enter(t)
            s = tuple(
                tape.follow("add", z.value, (z, 0.0), {}) for z in s
            )  # the edges over which a loop carries errors
            self.entered.append(s)
            self.params.append({n: tape.leaf(v, "param", n) for n, v in problem.params.items()})
            self.xs.append(tape.leaf(problem.xs[t], "x", "X"))
            data = {n: tape.leaf(d[t], "data", n) for n, d in problem.data.items()}
            s1, _ = cell.step(tape, self.params[t], self.xs[t], s, data)
            self.left.append(s1)
            tape.step = -1  # what a mask does is no part of the step
            y, s = between.leave(t, s, s1)
            self.outputs.append(y)
        self.last = s

    def errors(self, window: Window, without: Sequence[str] = (), early: bool = False) -> list[tuple[Node, HostArray]]:
        """What reaches the outputs and, in a window at the end, the last states but those in `without`.

        `early`: the loop back begins one step too early, with the last states' errors.
        """
        problem = self.problem
        met = [(self.outputs[t], problem.dys[t]) for t in range(window.lo, window.stop - early)]
        if window.stop < self.time_steps:
            return met
        ends = zip(problem.cell.states, self.entered[-1] if early else self.last, problem.ds_T, strict=True)
        return met + [(node, d) for name, node, d in ends if name not in without]

    def by_step(
        self, windows: Sequence[Window], change: Change | None = None, without: Sequence[str] = (), early: bool = False
    ) -> tuple[dict[str, list[HostArray]], Gradients]:
        """Each step's share of the parameters' gradients, and the gradients of inputs and initial states."""
        problem, xs_name, s0_names = self.problem, self.names[0], self.names[1:]
        shares = {n: [np.zeros(v.shape) for _ in range(self.time_steps)] for n, v in problem.params.items()}
        dxs = np.zeros(problem.xs.shape)
        ds0 = {n: np.zeros(z.shape) for n, z in zip(s0_names, problem.s0, strict=True)}
        for window in windows:
            found = self.tape.sweep(self.errors(window, without, early), self._until(window.start, change))
            for t in range(window.start, window.stop):
                for name, node in self.params[t].items():
                    shares[name][t] = shares[name][t] + found.get(id(node), 0.0)
                dxs[t] += found.get(id(self.xs[t]), 0.0)
            for name, node in zip(s0_names, self.start, strict=True):
                ds0[name] = ds0[name] + found.get(id(node), 0.0)
        return shares, {xs_name: dxs, **ds0}

    def gradients(
        self, windows: Sequence[Window], change: Change | None = None, without: Sequence[str] = (), early: bool = False
    ) -> Gradients:
        """All gradients, summed over steps and windows."""
        shares, rest = self.by_step(windows, change, without, early)
        return {n: np.sum(parts, axis=0) for n, parts in shares.items()} | rest

    @property
    def step_nodes(self) -> list[Node]:
        """The nodes of the first step, which stand for those of every step."""
        return [node for node in self.tape.nodes if node.step == 0 and id(node) not in self.carries(0)]

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """The gates of each parameter, numbered where the cell does not name them."""
        cell, wide = self.problem.cell, self.problem.cell.hidden_size
        counts = {n: v.shape[-1] // wide for n, v in self.problem.params.items() if v.shape[-1] % wide == 0}
        return cell.blocks or {n: tuple(map(str, range(count))) for n, count in counts.items() if count > 1}

    def carries(self, t: int) -> Mapping[int, str]:
        """The edges by which errors leave step t for the step before: id of the node -> name of the state."""
        return {id(node): name for name, node in zip(self.problem.cell.states, self.entered[t], strict=True)}

    def _until(self, start: int, change: Change | None) -> Change | None:
        """The change, and nothing flows back over the start of a window."""
        if start == 0:
            return change
        edge = self.carries(start)

        def cut(node: Node, k: int, error: HostArray, share: HostArray) -> Any:
            if id(node) in edge:
                return None
            return share if change is None else change(node, k, error, share)

        return cut
