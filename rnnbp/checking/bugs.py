"""The faults that a gradient check can name, as data: most found in public projects, the rest their neighbours."""

from __future__ import annotations

# name -> what the backward does wrong, as a sentence part that a report can print
BUGS: dict[str, str] = {
    "all-zero": "the gradient is zero everywhere",
    "sign": "the gradient has the wrong sign",
    "factor": "the gradient is off by a constant factor, such as a sum taken for a mean (T, B, 2 or their inverse)",
    "transposed": "the gradient is transposed",
    "missing-accumulation": "= where += belongs: the gradient holds one time step instead of the sum over all",
    "first-step-skipped": "the loop back over time stops before t = 0",
    "last-step-skipped": "the loop back over time begins one step too early: the error at t = T−1 is lost",
    "h-of-wrong-step": "the recurrent weights' gradient takes h_t where h_{t−1} belongs",
    "carry-dropped": "the error of a state is not carried to the step before",
    "initial-state-forgotten": "the gradient of an initial state is not returned",
    "last-state-forgotten": "the error of the last state is not let in",
    "input-forgotten": "the gradient of the input is not returned",
    "sigma-prime-missing": "the slope σ' = σ(1−σ) of a gate is missing",
    "sigma-prime-twice": "the slope σ' = σ(1−σ) of a gate is applied twice",
    "sigma-prime-of-activated": "σ' is taken of a value that went through σ already",
    "tanh-prime-missing": "the slope tanh' = 1−tanh² is missing",
    "tanh-prime-twice": "the slope tanh' = 1−tanh² is applied twice",
    "tanh-prime-of-activated": "tanh' is taken of a value that went through tanh already",
    "gates-swapped": "the errors of two gates are exchanged",
    "bias-swapped": "the bias gradients of two gates are exchanged",
    "bias-copied": "the bias gradient of one gate is a copy of another's",
    "peephole-path-missing": "the error that flows through a peephole into the cell state is missing",
    "peephole-of-wrong-c": "a peephole's gradient takes the cell state of the wrong time step",
    "path-missing": "one of the ways by which an error flows back inside the step is missing",
    "clipped": "the gradient was clipped or normalised inside the backward",
    "mask-missing": "a dropout mask of the forward is not applied in the backward",
}
