"""What every test of a scan is repeated over: the cells, and the ways to run them."""

from __future__ import annotations

from functools import cache

import numpy as np
from helpers import B, H, I, Problem, T, numeric, problem
from toy_cells import TOYS

import rnnbp

CORE = ["elman", "gru", "lstm", "rnn"]  # each other cell is covered by the conformance suite (test_conformance)
VARIANTS = [
    "lstm:peepholes=true",
    "lstm:bias=false",
    "lstm:peepholes=true,bias=false",
    "gru:reset=before",
    "gru:bias=false",
    "gru:reset=before,bias=false",
    "elman:activation=relu",
    "elman:activation=sigmoid",
    "elman:activation=identity",
    "elman:bias=false",
]
NAMES = sorted([*CORE, *VARIANTS])
EVERY = [*NAMES, *TOYS]


def make(name: str, input_size: int = I, hidden_size: int = H) -> rnnbp.Cell:
    """A cell of the registry, with its options, or a toy."""
    return TOYS[name](input_size, hidden_size) if name in TOYS else rnnbp.cell(name, input_size, hidden_size)


def _flags(*where: tuple[int, int]) -> np.ndarray:
    flags = np.zeros((T, B), dtype=bool)
    flags[tuple(np.transpose(where))] = True
    flags.flags.writeable = False
    return flags


MASK = ~_flags((0, 0), (1, 2), (3, 1), (4, 1))  # one starts late, one has a hole, one ends early
MASK.flags.writeable = False
RESETS = _flags((0, 2), (1, 2), (2, 0), (4, 1))  # before the first step, twice in a row, and where the mask is off

WAYS = {
    "plain": {},
    "mask": {"mask": MASK},
    "resets": {"resets": RESETS},
    "mask and resets": {"mask": MASK, "resets": RESETS},
    "reverse": {"reverse": True},
    "mask, reverse": {"mask": MASK, "reverse": True},
    "resets, reverse": {"resets": RESETS, "reverse": True},
    "mask, resets, reverse": {"mask": MASK, "resets": RESETS, "reverse": True},
}


def case(name: str) -> Problem:
    """The problem that all tests of this cell share."""
    return problem(make(name))


@cache
def wanted(name: str, way: str) -> dict[str, np.ndarray]:
    """The gradients of that problem by complex steps."""
    return numeric(case(name), **WAYS[way])
