"""The cells that have CUDA kernels: of the registry, its variants, the toys, the plugin that lies in the checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from cases import EVERY, make

import rnnbp
from rnnbp.fastpath import layout
from rnnbp.lowering import Untraceable

PLUGIN = Path(__file__).parents[1] / "plugins" / "rnnbp-mgu" / "rnnbp_mgu" / "__init__.py"


def _plugin():
    """The module of the MGU, from the checkout; it need not be installed."""
    spec = importlib.util.spec_from_file_location("rnnbp_mgu_of_the_checkout", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


MGU = _plugin().MGU if PLUGIN.exists() else None


def cell(name: str, input_size: int = 4, hidden_size: int = 6) -> rnnbp.Cell:
    return MGU(input_size, hidden_size) if name == "the plugin's" else make(name, input_size, hidden_size)


def declined(name: str) -> str | None:
    """Why the portable path runs a cell, or None."""
    try:
        layout(make(name))
    except Untraceable as reason:
        return str(reason)
    return None


PORTABLE = [name for name in EVERY if declined(name)]
FUSED = [name for name in EVERY if name not in PORTABLE] + ["the plugin's"] * (MGU is not None)
