"""The gradients that a backward claims, sorted: what fits its input, what does not, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnbp.backends import backend_of
from rnnbp.checking.foreign.inputs import Inputs
from rnnbp.checking.foreign.structures import host
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray


@dataclass(frozen=True)
class Claims:
    """Gradients by input name."""

    gradients: Mapping[str, HostArray]  # float64, (K, *shape)
    misfits: Mapping[str, str]  # a gradient of another shape: what is wrong
    unlike: Mapping[str, str]  # one of another dtype or library: to be told, not a fault
    missing: tuple[str, ...]

    @property
    def first(self) -> dict[str, HostArray]:
        """The gradients for the first set of cotangents."""
        return {name: g[0] for name, g in self.gradients.items()}

    @property
    def scalars(self) -> int:
        """How many entries one set of gradients has."""
        return sum(g[0].size for g in self.gradients.values())


def claims_of(inputs: Inputs, found: Sequence[Mapping[str, Array | None]]) -> Claims:
    """The gradients of K sets of cotangents; a backward that claims none of any input is a UserError."""
    missing = tuple(name for name, g in found[0].items() if g is None)
    if len(missing) == len(inputs.point):
        raise UserError(
            f"backward returned no gradient of any input ({', '.join(inputs.point)}): there is none to check"
        )
    gradients: dict[str, HostArray] = {}
    misfits: dict[str, str] = {}
    unlike: dict[str, str] = {}
    for name in (name for name in inputs.point if name not in missing):
        each = [host(g[name], f"the gradient of {name}") for g in found]
        shape = inputs.point[name].shape
        if any(g.shape != shape for g in each):
            got = next(g.shape for g in each if g.shape != shape)
            hint = ": it looks transposed" if got == shape[::-1] and len(shape) > 1 else ""
            misfits[name] = f"the gradient of {name} has shape {got}, the input {shape}{hint}"
            continue
        if came := [str(g.dtype) for g in each if g.dtype.kind == "c"]:
            misfits[name] = f"the gradient of {name} is {came[0]}, the input real: the gradient must be real, too"
            continue
        gradients[name] = np.stack([g.astype(np.float64) for g in each])
        given, own = inputs.given[name], found[0][name]
        if str(each[0].dtype) != inputs.dtypes[name]:
            unlike[name] = f"{each[0].dtype}, the input {inputs.dtypes[name]}"
        elif backend_of(own) is not backend_of(given):
            unlike[name] = f"of {type(own).__module__}.{type(own).__name__}, the input of {type(given).__module__}"
    return Claims(gradients, misfits, unlike, missing)
