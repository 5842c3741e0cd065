"""What one step, and what many steps, do to an error: the Jacobians of the whole state and their products."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.growing import lanczos_norm
from rnnbp.flow.jacobians import DENSE, Spectra, product_spectra, step_spectra
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.products import FARTHEST, TOLERANCE, drawn, product_lines
from rnnbp.flow.measures.thinning import exp, first_sequence, said, said_exp, spread
from rnnbp.flow.steps import HBlockWithoutCarousel
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

SMALL = 128  # numbers of a state up to which the products of all lags are made
WORK = 3e8  # N³ times the steps whose spectra are computed
ERRORS = {"exponent": "the worst error", "random exponent": "a random error"}  # whose exponent it is
PICTURES = {
    "steps": Picture(
        "What one step does to an error",
        "the singular values of J_t = ∂s_t/∂s_{t−1}, the whole state (h, c, …) by the one before, and its largest "
        "|eigenvalue|",
        Axis("step t"),
        Axis("factor", log=True),
        together=False,
    ),
    "condition": Picture(
        "How unevenly one step treats errors",
        "the largest singular value of J_t over the smallest",
        Axis("step t"),
        Axis("condition number of J_t", log=True),
    ),
    "products": Picture(
        "What many steps do to an error",
        "∂s_T/∂s_{T−u} = J_T ··· J_{T−u+1}: its largest singular value, and what a random error is multiplied by; the "
        "product of the blocks ∂h_t/∂h_{t−1} alone (h-block) leaves out what c carries",
        Axis("lag u, steps back"),
        Axis("factor", log=True),
    ),
    "product values": Picture(
        "In how many directions errors survive",
        "the singular values of ∂s_T/∂s_{T−u}, those that rounding does not hide",
        Axis("lag u, steps back"),
        Axis("singular value", log=True),
        together=False,
    ),
}


def measure(subject: Subject) -> Measured:
    """Singular values, spectral radius and condition of J_t, and the growth of products: of the whole state and, for
    what it is worth, of the h-block alone.
    """
    path, notes = first_sequence(subject.path), []
    if subject.path.xs.shape[1] > 1:
        notes.append("Jacobians are those along the first sequence of the batch.")
    of_steps, numbers = _of_steps(path, notes)
    made = path.size <= SMALL
    lines, found = product_lines(path, "", made)
    numbers |= found
    (kind, e), *more = found.items()
    seen = f"On its way back {ERRORS[kind]} is multiplied by {said_exp(e)} a step, an exponent of {said(e)}"
    seen += "".join(f"; {ERRORS[other]} by {said_exp(e)}" for other, e in more) + "."
    top = first_sequence(list(subject.layers.values())[-1])
    if len(top.cell.states) > 1:
        block, found = product_lines(HBlockWithoutCarousel(top), "h-block", made)
        lines, numbers = lines + block, numbers | {f"h-block {name}": x for name, x in found.items()}
        which = "the top layer's h-block" if top.size < path.size else "the h-block"
        seen += f" The product of {which} alone, without the carousel, has {said(found[kind])}, and is no derivative "
        seen += "of anything."
    if path.time_steps == 1:
        seen = "An exponent needs 2 steps or more."
    panels = [*of_steps, Panel("products", seen, lines)]
    if made:
        panels.append(_values(product_spectra(path)))
    else:
        notes.append(
            f"Exponents are those of a random error over all lags; norms of products, to {TOLERANCE:g}, are those of "
            f"lags up to {min(FARTHEST, path.time_steps)} alone."
        )
    return Measured("jacobians", numbers, tuple(panel for panel in panels if panel.lines), tuple(notes))


def _of_steps(path: Trajectory, notes: list[str]) -> tuple[list[Panel], dict[str, float]]:
    """The pictures of single steps: all spectra where matrices are made, else the largest singular value."""
    if path.size > DENSE:
        at = spread(0, path.time_steps, 8)
        start = np.random.default_rng(0).standard_normal((1, path.size))
        top = exp(np.array([lanczos_norm(path, t + 1, 1, start, TOLERANCE)[0][0] for t in at]))
        notes.append(
            f"The state has {path.size} numbers: of J_t the largest singular value alone, to {TOLERANCE:g}, at "
            f"{len(at)} of {path.time_steps} steps, by the Lanczos method."
        )
        numbers = {"largest": float(np.median(_zero(top)))}
        seen = f"The largest singular value of a step is {said(numbers['largest'])}, the median of the steps shown."
        return [Panel("steps", seen, (Line("largest", np.asarray(at) + 1, top),))], numbers
    at = spread(0, path.time_steps, max(4, int(WORK / path.size**3)))
    if len(at) < path.time_steps:
        notes.append(f"Spectra of J_t at {len(at)} of {path.time_steps} steps.")
    spectra = step_spectra(path, at)
    values = {name: exp(logs) for name, logs in _ends(spectra).items()}
    radius, condition = exp(spectra.log_radius[:, 0]), exp(spectra.log_condition[:, 0])
    numbers = {"largest": float(np.median(_zero(values["largest"]))), "radius": float(np.median(_zero(radius)))}
    number = spectra.at + 1  # of the step, from 1 on
    lines = (*drawn(number, values), *drawn(number, {"spectral radius": radius}, "dashed"))
    seen = (
        f"Medians over the steps: the largest singular value is {said(numbers['largest'])}, which bounds what one step "
        f"does, and the largest |eigenvalue| {said(numbers['radius'])}, which would rule many if all were alike."
    )
    panels = [Panel("steps", seen, lines)]
    if np.any(np.isfinite(condition)):
        middle = said(float(np.nanmedian(condition)))
        seen = f"The median condition number is {middle}; where a step is singular to rounding it has none."
        panels.append(Panel("condition", seen, drawn(number, {"condition": condition})))
    return panels, numbers


def _values(spectra: Spectra) -> Panel:
    values = {name: exp(logs) for name, logs in _ends(spectra).items()}
    alive = int(np.sum(np.isfinite(spectra.log_values[-1, 0]) & (spectra.log_values[-1, 0] > np.log(0.01))))
    seen = (
        f"Over {spectra.at[-1]} steps {alive} of {spectra.log_values.shape[-1]} directions keep more than a hundredth "
        "of an error."
    )
    return Panel("product values", seen, drawn(spectra.at, values))


def _ends(spectra: Spectra) -> dict[str, HostArray]:
    """The largest, the median and the smallest singular value, as logarithms (S,)."""
    logs = spectra.log_values[:, 0]
    return {"largest": logs[:, 0], "median": logs[:, logs.shape[-1] // 2], "smallest": logs[:, -1]}


def _zero(values: HostArray) -> HostArray:
    """Zero for what is too small to be a number."""
    return np.where(np.isnan(values), 0.0, values)
