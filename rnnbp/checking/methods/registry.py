"""The numeric methods by name."""

from __future__ import annotations

from rnnbp.checking.methods.autodiff import Autodiff, AutodiffJax, AutodiffTorch
from rnnbp.checking.methods.complexsteps import ComplexStep
from rnnbp.checking.methods.differences import Central, FivePoint
from rnnbp.checking.methods.hessian import Hessian
from rnnbp.checking.methods.numeric import NumericMethod
from rnnbp.checking.methods.rtrl import RTRL
from rnnbp.checking.methods.symbolic import Symbolic
from rnnbp.checking.methods.tangents import Tangents
from rnnbp.checking.methods.taylor import Taylor
from rnnbp.errors import unknown

_ALL: tuple[NumericMethod, ...] = (ComplexStep(), Tangents(), FivePoint(), Central())
_ALL += (Autodiff(), AutodiffTorch(), AutodiffJax(), Symbolic(), RTRL(), Taylor(), Hessian())
METHODS: dict[str, NumericMethod] = {method.name: method for method in _ALL}


def numeric_method(name: str) -> NumericMethod:
    """The method of that name; a name that is not known is a UserError."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
