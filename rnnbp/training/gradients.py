"""The gradient of one training step: of the loss, and of the penalties beside it."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from rnnbp.around.clipping import unclipped
from rnnbp.cellbase import Params
from rnnbp.model import Model
from rnnbp.numerics import Array
from rnnbp.optim import global_norm
from rnnbp.penalties import l2
from rnnbp.stacking import States
from rnnbp.training.clipping import StepClipped, cosine, norm_ratio
from rnnbp.training.setup import Setup


class Gradient(NamedTuple):
    """The loss of the data and the penalties apart, the gradient of both, and the last states."""

    loss: float
    penalty: float
    gradients: dict[str, Array]
    last: States


def gradient(
    setup: Setup,
    params: Params,
    xs: Array,
    targets: Array,
    carried: States | None,
    data: Params | None = None,
    *,
    model: Model | None = None,
) -> Gradient:
    """Of the run's model on one batch, or of another model, truncated as the run is."""
    model = setup.model if model is None else model
    options = {"data": data, "remat": setup.config.remat, "backend": setup.backend}
    loss, activity, last, backward = model.apart(params, xs, targets, carried, **options)
    gradients, penalty = backward(setup.windows)[0], 0.0 if activity is None else float(activity)
    if setup.config.l2:
        value, decay = l2(model.params, params, setup.config.l2)
        gradients = gradients | {name: gradients[name] + d for name, d in decay().items()}
        penalty += float(value)
    return Gradient(float(loss), penalty, gradients, last)


def of_step_clipping(setup: Setup, found: Gradient, *given: Any) -> StepClipped | None:
    """What clipping at every step did to a gradient; None without it.

    It costs another pass, for what was clipped on the way back is not known.
    """
    if setup.config.clip_step is None:
        return None
    bare = replace(setup.model, stack=setup.model.stack.of_cells(unclipped))
    before = gradient(setup, *given, model=bare).gradients
    size = float(global_norm(before))
    if not isfinite(size):
        return StepClipped(True, None, None)
    change = {name: g - found.gradients[name] for name, g in before.items()}
    rounding = 100 * float(np.finfo(setup.config.dtype).eps) * size
    fired = float(global_norm(change)) > rounding
    return StepClipped(fired, cosine(before, found.gradients), norm_ratio(before, found.gradients))
