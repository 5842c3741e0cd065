"""What the options of an LSTM make of its gates, states and parameters; its equations are in `rnnbp.cells.lstm`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rnnbp.cellbase import Param, joined
from rnnbp.cells.activations import activation
from rnnbp.errors import UserError
from rnnbp.initializers import normal
from rnnbp.pointwise import PointwiseCell


@dataclass(frozen=True)
class LSTMOptions(PointwiseCell):
    """The options of `LSTM`, which tells what each means, and all that follows from them but the step itself."""

    peepholes: bool = False
    forget_bias: float = 1.0
    coupled: bool = False
    without: tuple[str, ...] = ()
    input_activation: str = "tanh"
    output_activation: str = "tanh"
    gate_recurrence: bool = False
    peephole_error: bool = True
    clip: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", joined(self.without))
        if strangers := set(self.without) - {"i", "f", "o"}:
            raise UserError(f"without names gates among i, f and o; got {', '.join(sorted(strangers))}")
        if self.coupled and {"i", "f"} & set(self.without):
            raise UserError(f"coupled makes f = 1 − i; got without={'+'.join(self.without)}: leave one of them out")
        lacking = "without=f" if "f" in self.without else "" if self.bias else "bias=false"
        if lacking and self.forget_bias != 1:
            raise UserError(f"forget_bias is where a bias starts; got {self.forget_bias} with {lacking}: leave it out")
        if not (self.peepholes or self.peephole_error):
            raise UserError("peephole_error=false is about peepholes; got none: add peepholes=true, or leave it out")
        _ = activation(self.input_activation, self.clip), activation(self.output_activation)  # a name not known raises
        super().__post_init__()

    @property
    def source(self) -> str:
        if self.input_activation == "bipolar2":
            return "Hochreiter & Schmidhuber 1997"
        if self.without or self.coupled or self.gate_recurrence or self.input_activation != self.output_activation:
            return "Greff et al. 2017, arXiv 1503.04069"
        return "Gers & Schmidhuber 2000" if self.peepholes else "Gers, Schmidhuber & Cummins 2000"

    @cached_property
    def gates(self) -> tuple[str, ...]:
        return tuple(k for k in ("i", "f", "g", "o") if k not in self.without and not (k == "f" and self.coupled))

    @cached_property
    def sigmoids(self) -> tuple[str, ...]:
        """The gates but the candidate: those that may have a peephole, or be states."""
        return tuple(gate for gate in self.gates if gate != "g")

    @cached_property
    def states(self) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("h", "c", *(self.sigmoids if self.gate_recurrence else ())), (self.hidden_size,))

    @cached_property
    def recurrent(self) -> tuple[str, ...]:
        return ("h", *self.sigmoids) if self.gate_recurrence else ("h",)

    @property
    def unfed(self) -> dict[str, tuple[str, ...]]:
        return {"g": self.sigmoids} if self.gate_recurrence else {}

    @property
    def elementwise(self) -> dict[str, Param]:
        return {f"p{gate}": Param((self.hidden_size,), normal(0.1)) for gate in self.sigmoids if self.peepholes}

    @property
    def memory_gates(self) -> dict[str, int]:
        return {} if "f" in self.without else {"f": 1, "i": -1}

    def gate_bias(self, gate: str) -> float:
        return {"f": self.forget_bias, "i": -self.forget_bias if self.coupled else 0.0}.get(gate, 0.0)
