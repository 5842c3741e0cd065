"""Gradient checks: numeric derivatives of a forward against the backward that was written by hand.

`subjects` says what is compared, `operands` on what numbers, `methods` how the numeric side is made, `metric` and
`verdicts` how it is judged, `report` and `page` what is told. `cells` checks a cell, `models` a whole model, `losses`
the losses, `foreign` anybody's function. `properties` and `kinks` are looked at besides; `lags` locates a fault in
time, `diagnosis` names it. `procedures` and `parities` compare, `selftest` tries the checker itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnbp.checking.catalogue import all_specs as all_specs
    from rnnbp.checking.catalogue import builtin_specs as builtin_specs
    from rnnbp.checking.catalogue import check_cells as check_cells
    from rnnbp.checking.foreign.check import check_function as check_function
    from rnnbp.checking.losses import check_losses as check_losses
    from rnnbp.checking.models import check_model as check_model
    from rnnbp.checking.models import check_task as check_task
    from rnnbp.checking.parities import ParityReport as ParityReport
    from rnnbp.checking.parities import parity as parity
    from rnnbp.checking.procedures import compare_procedures as compare_procedures
    from rnnbp.checking.report import Check as Check
    from rnnbp.checking.report import Report as Report
    from rnnbp.checking.selftest import self_test as self_test

# name -> its module; loaded on first use, for whoever only trains shall not wait for it
_HOMES = {
    "all_specs": "catalogue",
    "builtin_specs": "catalogue",
    "check_cells": "catalogue",
    "check_function": "foreign.check",
    "check_losses": "losses",
    "check_model": "models",
    "check_task": "models",
    "ParityReport": "parities",
    "parity": "parities",
    "compare_procedures": "procedures",
    "Check": "report",
    "Report": "report",
    "self_test": "selftest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
