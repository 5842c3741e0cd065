"""How much of the gradient comes from how far back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnbp.flow.lags import mean_by_lag
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.layering import named
from rnnbp.flow.measures.thinning import falls, fitted, over_lags, positive, ranked
from rnnbp.flow.subjects import Subject
from rnnbp.flow.sums import gates
from rnnbp.numerics import HostArray

LAG = Axis("lag u, steps back")
PICTURES = {
    "error": Picture(
        "The error, step by step back",
        "‖dL_t/ds_{t−u}‖ = ‖dL_t/ds_t · ∂s_t/∂s_{t−1} ··· ∂s_{t−u+1}/∂s_{t−u}‖, the mean over all t with an error. "
        "Half-lives are those of the line of least squares through the logarithms, over all lags",
        LAG,
        Axis("norm of the error", log=True),
    ),
    "weights": Picture(
        "The gradient, by how far back the weights were used",
        "‖dL_t/dW_{t−u}‖, where dL/dW = Σ_t Σ_u dL_t/dW_{t−u}: the mean over all t with an error that reach so far "
        "back",
        LAG,
        Axis("norm of the part of dL/dW", log=True),
        together=False,
    ),
    "gates": Picture(
        "The gradient of the recurrent weights, gate by gate",
        "‖dL_t/dU_{k,t−u}‖ for each gate k, whose columns of U are U_k: the mean over the same t",
        LAG,
        Axis("norm of the part of dL/dU_k", log=True),
        together=False,
    ),
    "map": Picture(
        "From which error to which use of the weights",
        "‖dL_t/dU_s‖: the error met at step t, and U as it was used at step s ≤ t",
        Axis("step s at which the weights are used"),
        Axis("step t at which the error is met"),
        Axis("norm of dL_t/dU_s", log=True),
        together=False,
    ),
}


def measure(subject: Subject) -> Measured:
    """The gradient of the loss by lag: of the error of the states, and of the weights by tensor and gate."""
    found = subject.by_lag
    met = np.any(subject.dys != 0, axis=(1, 2))
    error = mean_by_lag(found.states[""], met)[: found.lags + 2]
    whole = fitted(error)
    used = {
        name: _by_lag(subject, name, "", met) for name, spec in subject.path.cell.params.items() if len(spec.shape) > 1
    }
    matrices = {name: by_lag for name, by_lag in used.items() if np.any(by_lag > 0)}
    numbers = {"half-life": whole.half_life, "kept": whole.factor}
    rates = {name: fitted(by_lag) for name, by_lag in matrices.items()}
    numbers |= {f"half-life {name}": rate.half_life for name, rate in rates.items()}
    panels = []
    if lines := tuple(_of_states(subject, met)):
        ends = np.isfinite(whole.rate) and whole.last + 1 < np.sum(np.isfinite(error))
        left = f", and nothing is left behind lag {whole.last}" if ends else ""
        panels.append(Panel("error", f"The error of the state {falls(whole)} on its way back{left}.", lines))
    if matrices:
        panels.append(Panel("weights", ranked(rates), over_lags(matrices)))
    panels += _by_gate(subject, [name for name in matrices if recurrent(name)], met)
    if matrices:
        panels.append(_map(subject, [name for name in matrices if recurrent(name)] or list(matrices)))
    notes = (
        [f"Errors were followed through {found.lags + 1} steps."] if found.lags + 1 < subject.path.time_steps else []
    )
    return Measured("lags", numbers, tuple(panels), tuple(notes))


def _by_lag(subject: Subject, name: str, gate: str, met: HostArray) -> HostArray:
    """The mean over t of ‖dL_t/dW_{t−u}‖, (lags + 1). Of a sum over t the far lags would have fewer terms."""
    return mean_by_lag(subject.by_lag.weights[name][gate], met)[: subject.by_lag.lags + 1]


def _by_gate(subject: Subject, names: list[str], met: HostArray) -> list[Panel]:
    """The gates of recurrent matrices, a panel for each layer."""
    by_layer: dict[str, dict[str, HostArray]] = {}
    for name in names:
        prefix, _, own = name.rpartition(".")
        for gate in gates(subject.path.cell, name):
            if gate and np.any((by_lag := _by_lag(subject, name, gate, met)) > 0):
                by_layer.setdefault(prefix, {})[f"{own} {gate}"] = by_lag
    return [
        Panel(
            "gates",
            ranked({name: fitted(by_lag) for name, by_lag in found.items()}),
            over_lags(found),
            part=named(prefix) if prefix else "",
        )
        for prefix, found in by_layer.items()
    ]


def recurrent(name: str) -> bool:
    """Whether a parameter is a recurrent matrix, by the rule of `rnnbp.schemes`."""
    return name.rpartition(".")[2].startswith("U")


def _of_states(subject: Subject, met: HostArray) -> Iterator[Line]:
    """The error of the whole state and, where there are several states, of each."""
    found = subject.by_lag
    for name in found.states if len(subject.path.cell.states) > 1 else ("",):
        by_lag = mean_by_lag(found.states[name], met)[: found.lags + 2]
        if np.any(by_lag > 0):
            yield Line(name or "whole state", np.arange(len(by_lag)), positive(by_lag), "dashed" if name else "line")


def _map(subject: Subject, names: list[str]) -> Panel:
    """Of the top layer's parameter, steps counted from 1; nan where s > t, or further back than was followed."""
    table = subject.by_lag.weights[names[-1]][""]
    at = np.unravel_index(np.argmax(table), table.shape)
    seen = (
        f"The largest part of dL/d{names[-1]} is that of the error of step {at[0] + 1} and the use at step {at[1] + 1}."
    )
    return Panel("map", seen, image=positive(table))
