"""Functions with their backwards, as what must have the properties of a backward: a scan, a step, a loss, a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rnnbp.backends import Backend
from rnnbp.checking.subjects.problems import Problem, tensor_names
from rnnbp.checking.subjects.subject import Subject
from rnnbp.losses import Loss
from rnnbp.model import readout
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import scan

Arrays: TypeAlias = Mapping[str, Array]
Pull: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Array]]  # cotangent by output, None too -> gradient by tensor


@dataclass(frozen=True)
class Pullback:
    """`run(backend, inputs)` gives outputs by name and the backward from their cotangents.

    `tensors` are the inputs that have a gradient, `cotangents` the outputs that have an error: those of no function
    whose backward starts from a one of its own.
    """

    inputs: Mapping[str, HostArray]
    tensors: tuple[str, ...]
    cotangents: Mapping[str, HostArray]
    run: Callable[[Backend, Arrays], tuple[dict[str, Array], Pull]]


def scan_pullback(problem: Problem) -> Pullback:
    """`rnnbp.scan` of a problem; its outputs are ys and the last states."""
    q, cell = problem, problem.cell
    xs_name, s0_names = tensor_names(cell)
    data, last = {f"data {n}": n for n in cell.data}, [f"last {n}" for n in cell.states]
    tensors = {**q.params, xs_name: q.xs, **dict(zip(s0_names, q.s0, strict=True))}
    inputs = tensors | {said: q.data[n] for said, n in data.items()} | ({} if q.mask is None else {"mask": q.mask})

    def run(backend: Backend, given: Arrays) -> tuple[dict[str, Array], Pull]:
        params, s0 = {n: given[n] for n in q.params}, tuple(given[n] for n in s0_names)
        options: dict[str, Any] = {"mask": given.get("mask"), "data": {n: given[said] for said, n in data.items()}}
        ys, s_T, backward = scan(cell, params, given[xs_name], s0, backend=backend, **options)

        def pull(d: Mapping[str, Any]) -> dict[str, Array]:
            dp, dxs, ds = backward(d["ys"], tuple(d[n] for n in last) if last[0] in d else None)
            return {**dp, xs_name: dxs, **dict(zip(s0_names, ds, strict=True))}

        return {"ys": ys, **dict(zip(last, s_T, strict=True))}, pull

    return Pullback(inputs, tuple(tensors), {"ys": q.dys, **dict(zip(last, q.ds_T, strict=True))}, run)


def step_pullback(problem: Problem) -> Pullback:
    """`cell.step` at the first step of a problem; its outputs are the states."""
    q, cell = problem, problem.cell
    x_name, s_names = tensor_names(cell)
    data = {f"data {n}": n for n in cell.data}
    tensors = {**q.params, x_name: q.xs[0], **dict(zip(s_names, q.s0, strict=True))}

    def run(backend: Backend, given: Arrays) -> tuple[dict[str, Array], Pull]:
        params, s = {n: given[n] for n in q.params}, tuple(given[n] for n in s_names)
        e = {n: given[said] for said, n in data.items()}
        s1, backward = cell.step(backend.xp, params, given[x_name], s, e)

        def pull(d: Mapping[str, Any]) -> dict[str, Array]:
            dp, dx, ds = backward(tuple(d[n] for n in cell.states))
            found = {**dp, x_name: dx, **dict(zip(s_names, ds, strict=True))}
            return {n: backend.xp.zeros_like(given[n]) if found.get(n) is None else found[n] for n in tensors}

        return dict(zip(cell.states, s1, strict=True)), pull

    inputs = tensors | {said: q.data[n][0] for said, n in data.items()}
    return Pullback(inputs, tuple(tensors), dict(zip(cell.states, q.ds_T, strict=True)), run)


def loss_pullback(loss: Loss, y: HostArray, target: HostArray, mask: HostArray | None, dvalue: HostArray) -> Pullback:
    """A loss of outputs y; its output is the value."""

    def run(backend: Backend, given: Arrays) -> tuple[dict[str, Array], Pull]:
        del backend
        value, backward = loss(given["y"], given["target"], given.get("mask"))
        return {"value": value}, lambda d: {"y": backward(d["value"])}

    inputs = {"y": y, "target": target} | ({} if mask is None else {"mask": mask})
    return Pullback(inputs, ("y",), {"value": dvalue}, run)


def readout_pullback(tensors: Mapping[str, HostArray], dy: HostArray) -> Pullback:
    """The readout of W, b and h, in this order; its output is y."""
    names: Sequence[str] = tuple(tensors)

    def run(backend: Backend, given: Arrays) -> tuple[dict[str, Array], Pull]:
        del backend
        y, backward = readout(*(given[n] for n in names))
        return {"y": y}, lambda d: dict(zip(names, backward(d["y"]), strict=True))

    return Pullback(tensors, tuple(names), {"y": dy}, run)


def subject_pullback(subject: Subject) -> Pullback:
    """What a subject's backward claims, from its own cotangents: forward and backward run anew at each call."""

    def run(backend: Backend, given: Arrays) -> tuple[dict[str, Array], Pull]:
        del backend
        return {}, lambda _: dict(subject.gradients(given))

    return Pullback(subject.tensors, tuple(subject.tensors), {}, run)
