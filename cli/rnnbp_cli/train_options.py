"""The options of `rnnbp train`. The defaults are the library's (`rnnbp.training.Config`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

# ---- what is learned ---------------------------------------------------------------------------------------------
Files: TypeAlias = Annotated[
    list[Path] | None, typer.Argument(help="Text to learn, UTF-8 [default: Python's standard library]")
]
Task: TypeAlias = Annotated[
    str | None, typer.Option(help="A generated task in place of text: four-steps, adding, copy, temporal-order.")
]
TimeSteps: TypeAlias = Annotated[
    int | None, typer.Option(help="Steps T of a window [default: 50 for text, else the task's]")
]
Batch: TypeAlias = Annotated[int | None, typer.Option(help="Sequences B side by side [default: 32, or the task's]")]
Remat: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="K|sqrt",
        help="Keep every K-th state only (sqrt: K = √T) and compute the steps between again [default: keep all]",
    ),
]
Loss: TypeAlias = Annotated[str | None, typer.Option(help="mse or cross-entropy, with [:option=value,…]")]

# ---- the model ---------------------------------------------------------------------------------------------------
Cell: TypeAlias = Annotated[
    str | None, typer.Option(help="NAME[:option=value,…], and after slashes what goes around it [default: lstm]")
]
Layers: TypeAlias = Annotated[int | None, typer.Option(help="Cells on top of each other [default: 1]")]
Residual: TypeAlias = Annotated[
    bool | None, typer.Option("--residual", help="Every layer but the first adds its input to what it gives.")
]
Hidden: TypeAlias = Annotated[int | None, typer.Option(help="Hidden size H [default: 128]")]
Init: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="glorot, torch, orthogonal, irnn, chrono:T_MAX, and words like U=orthogonal,b.f=1 "
        "[default: as the cell draws]"
    ),
]

# ---- the updates -------------------------------------------------------------------------------------------------
Steps: TypeAlias = Annotated[int | None, typer.Option(help="Updates; may grow with --resume [default: 1000]")]
Optimizer: TypeAlias = Annotated[
    str | None, typer.Option(help="sgd, rmsprop or adamw, with [:option=value,…] [default: adamw]")
]
Lr: TypeAlias = Annotated[float | None, typer.Option(help="Learning rate [default: 0.003]")]
Truncation: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Within a window: full, tbptt:K1,K2, steps:K, decay:L, 1997, gates:NAME+NAME or peepholes [default: full]"
    ),
]
Dtype: TypeAlias = Annotated[str | None, typer.Option(help="float32 or float64 [default: float32]")]
SaveEvery: TypeAlias = Annotated[
    int | None, typer.Option(help="Steps from one validation, metrics row and checkpoint to the next [default: 100]")
]

# ---- regularisation ----------------------------------------------------------------------------------------------
Dropout: TypeAlias = Annotated[
    float | None, typer.Option(help="Rate between layers and before the readout; in training only [default: 0]")
]
Variational: TypeAlias = Annotated[
    bool | None, typer.Option("--variational", help="One dropout mask for all steps of a sequence.")
]
L2: TypeAlias = Annotated[float | None, typer.Option("--l2", help="λ/2 Σ w² over matrices, in the loss [default: 0]")]
WeightDecay: TypeAlias = Annotated[
    float | None,
    typer.Option(help="λ of w ← w − lr λ w for matrices, apart from the gradient [default: the optimizer's]"),
]
Ar: TypeAlias = Annotated[
    float | None, typer.Option(help="α of the activation penalty α mean h² on the top layer [default: 0]")
]
Tar: TypeAlias = Annotated[
    float | None, typer.Option(help="β of the penalty β mean (h_t − h_{t−1})² on the top layer [default: 0]")
]

# ---- clipping ----------------------------------------------------------------------------------------------------
ClipStep: TypeAlias = Annotated[
    float | None, typer.Option(help="Limit of each error of a pre-activation, at every step back [default: none]")
]
ClipValue: TypeAlias = Annotated[float | None, typer.Option(help="Limit of each gradient entry [default: none]")]
ClipTensor: TypeAlias = Annotated[
    float | None, typer.Option(help="Limit of the norm of each parameter's gradient [default: none]")
]
ClipNorm: TypeAlias = Annotated[float | None, typer.Option(help="Limit of the gradient's global norm [default: none]")]

# ---- the run folder ----------------------------------------------------------------------------------------------
Flow: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="every=N[,…]",
        help="Measure the gradient's flow every N steps, into RUN/flow.csv: every=N[,sequences=B][,measures=NAME+NAME] "
        "[default: not at all; 4 sequences, states+saturation]",
    ),
]
Out: TypeAlias = Annotated[Path | None, typer.Option(metavar="RUN", help="The run folder [default: runs/NAME]")]
Resume: TypeAlias = Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run, to the bit.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Start anew in a run folder that exists.")]
