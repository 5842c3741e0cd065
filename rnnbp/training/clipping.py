"""Clipping of whole gradients, and what it did to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from array_api_compat import array_namespace

from rnnbp.cellbase import Params
from rnnbp.numerics import Array
from rnnbp.optim import clip_by_norm, clip_by_tensor, clip_by_value, global_norm

Clip: TypeAlias = Callable[[Params, float], tuple[dict[str, Array], bool]]

# in the order in which they are applied: the global norm is that of what is left
CLIPS: dict[str, Clip] = {"value": clip_by_value, "tensor": clip_by_tensor, "norm": clip_by_norm}


class Clipped(NamedTuple):
    """A gradient after clipping: which limits fired, the cosine of its angle to the gradient before, and ‖g'‖ / ‖g‖."""

    gradients: dict[str, Array]
    fired: dict[str, bool]
    cosine: float
    norm_ratio: float


class StepClipped(NamedTuple):
    """Whether clipping at every step changed a gradient, and what the gradient is beside the one without it: None where
    that one is not finite.
    """

    fired: bool
    cosine: float | None
    norm_ratio: float | None


def clip(gradients: Params, limits: Mapping[str, float]) -> Clipped:
    """All limits that are set, by their names in `CLIPS`. The global norm alone leaves the direction as it is."""
    after, fired = dict(gradients), {}
    for name, by in CLIPS.items():
        if name in limits:
            after, fired[name] = by(after, limits[name])
    turned = any(hit for name, hit in fired.items() if name != "norm")
    ratio = norm_ratio(gradients, after) if any(fired.values()) else 1.0
    return Clipped(after, fired, cosine(gradients, after) if turned else 1.0, ratio)


def norm_ratio(before: Params, after: Params) -> float:
    """‖g'‖ / ‖g‖ over all parameters: what is left of the gradient's norm; 1 where it was zero."""
    size = float(global_norm(before))
    return float(global_norm(after)) / size if size else 1.0


def cosine(one: Params, two: Params) -> float:
    """⟨g, g'⟩ / (‖g‖ ‖g'‖) over all parameters; 1 where one of them is zero."""
    inner: Any = 0.0
    for name, g in one.items():
        inner = inner + array_namespace(g).sum(g * two[name])
    sizes = float(global_norm(one)) * float(global_norm(two))
    return max(-1.0, min(1.0, float(inner) / sizes)) if sizes else 1.0
