"""The checks by name, as data.

A cell need not be traceable. Where one is not, "traceable" is left out with the reason; where it is, kernels are made
of its graphs, so the backward's graph must be the derivative of the forward's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.properties.catalogue import PROPERTIES, Property
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import mask_is_refused
from rnnbp.checking.verdicts import setting
from rnnbp.testing import contract, gradients, lowering, numbers, passes
from rnnbp.testing.cases import B, T

# (cell, backend) -> what is wrong and what to do about it; empty if nothing is. It may raise LeftOut.
Check: TypeAlias = Callable[[Cell, Backend], str]


def _property(holds: Property) -> Check:
    """A property of `rnnbp gradcheck`, on the problem that it is asked of there."""

    def check(cell: Cell, backend: Backend) -> str:
        how, problem = setting(backend, "float64", "complex-step", "full"), draw(cell, T, B, seed=0)
        return holds(cell, replace(problem, mask=None) if mask_is_refused(problem, how) else problem, how)

    check.__doc__ = holds.__doc__
    return check


CHECKS: dict[str, Check] = {
    "api-version": contract.api_version,
    "is-a-value": contract.value,
    "initial-draws": contract.initial_draws,
    "states-as-declared": contract.states,
    "gradients-by-complex-step": gradients.complex_step,
    "gradients-by-tangent": gradients.tangent,
    "gradients-unmasked": gradients.unmasked,
    "gradients-in-float32": gradients.float32,
    "gradients-of-each-cotangent": gradients.each_cotangent,
    "gradients-of-one-step": gradients.one_step,
    "gradients-of-one-sequence": gradients.one_sequence,
    "gradients-under-truncation": gradients.truncated,
    **{name.replace(", ", "-").replace(" ", "-"): _property(holds) for name, holds in PROPERTIES.items()},
    "forward-repeatable": passes.repeatable,
    "fast-path-equals-loop": passes.fast_path,
    "run-equals-scan": passes.run_is_scan,
    "recomputed-scan-equals-scan": passes.recomputed,
    "record-changes-nothing": passes.recorded,
    "copies-equal-a-loop": passes.copies,
    "windows-add-up": passes.windows_add_up,
    "masked-values-do-not-matter": passes.masked_values,
    "resets-start-anew": passes.resets_start_anew,
    "reverse-turns-time": passes.reversed_in_time,
    "dtype-carried": numbers.dtype_carried,
    "device-carried": numbers.device_carried,
    "standard-functions-only": numbers.standard_functions,
    "complex-safe": numbers.complex_safe,
    "traceable": lowering.traceable,
}
"""All that `check_cell` asks, by name: (cell, backend) -> what is wrong, empty where nothing is."""
