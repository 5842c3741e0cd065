"""The recurrent network of rectified linear units that starts as the identity."""

from __future__ import annotations

from dataclasses import dataclass, field

from rnnbp.cellbase import Param
from rnnbp.cells.elman import Elman
from rnnbp.initializers import identity, normal


@dataclass(frozen=True)
class IRNN(Elman):
    """The Elman network with ReLU, U starting as the identity and b at zero (Le, Jaitly & Hinton 2015).

        h' = max(0, x W + h U + b)

    Backward:  da = dh' ∘ [h' > 0], as in `Elman`. With x = 0 a state that is not negative stays as it is, and so does
    its error. `scale` times the identity makes it forget (0.01 for the speech data there). W starts at N(0, 0.001²), as
    in the paper's experiments.
    Shapes: as in `Elman`.
    """

    activation: str = field(default="relu", init=False)
    scale: float = 1.0

    source = "Le, Jaitly & Hinton 2015, arXiv 1504.00941"

    @property
    def params(self) -> dict[str, Param]:
        usual = super().params
        starts = {"W": normal(0.001), "U": identity(self.scale)}
        return {name: Param(spec.shape, starts.get(name, spec.init)) for name, spec in usual.items()}
