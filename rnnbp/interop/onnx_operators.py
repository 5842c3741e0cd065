"""What reading and writing models of ONNX share: the names of operators and of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnbp.errors import UserError

KINDS = {"RNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
# our activation -> the operator, and its alpha and beta if it has some
ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "tanh": ("Tanh",),
    "sigmoid": ("Sigmoid",),
    "relu": ("Relu",),
    "identity": ("Affine", 1.0, 0.0),
    "bipolar": ("ScaledTanh", 1.0, 0.5),
    "bipolar2": ("ScaledTanh", 2.0, 0.5),
}


def import_onnx() -> Any:
    """The package, or how to get it."""
    try:
        import onnx
    except ImportError:
        raise UserError("models of ONNX need onnx: pip install 'rnnbp[onnx]'") from None
    return onnx


def activations_of(attributes: Mapping[str, Any], usual: Sequence[str]) -> list[str]:
    """The activations of all directions in our names; alpha and beta go to those that take some, in order."""
    if "activations" not in attributes:
        return list(usual)
    alphas, betas = (iter(attributes.get(f"activation_{which}", ())) for which in ("alpha", "beta"))
    found = []
    for operator in (word.decode().lower() for word in attributes["activations"]):
        known = [ours for ours, (theirs, *_) in ACTIVATIONS.items() if theirs.lower() == operator]
        said: tuple[float, ...] = ()
        if operator in ("affine", "scaledtanh"):
            said = (next(alphas, 1.0), next(betas, 0.0 if operator == "affine" else 1.0))
        fitting = [ours for ours in known if ACTIVATIONS[ours][1:] == said]
        found.append(fitting[0] if fitting else operator + "".join(f",{z:g}" for z in said))
    return found
