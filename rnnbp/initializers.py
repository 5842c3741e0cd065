"""How parameters are drawn: functions (rng, shape) -> float64 host array, the same numbers on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnbp.numerics import HostArray

Initializer: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], HostArray]


def glorot_uniform(blocks: int = 1) -> Initializer:
    """U(-l, l) with l = sqrt(6 / (fan_in + fan_out)), fan_out per block of columns (Glorot & Bengio 2010, eq. 16)."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        limit = (6 / (shape[0] + shape[1] / blocks)) ** 0.5
        return rng.uniform(-limit, limit, shape)

    return init


def normal(scale: float) -> Initializer:
    """N(0, scale²)."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        return scale * rng.standard_normal(shape)

    return init


def constant(*values: float) -> Initializer:
    """Equal blocks along the last axis, each filled with its value; one value fills everything."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        del rng
        block = np.repeat(np.asarray(values, dtype=np.float64), shape[-1] // len(values))
        return np.broadcast_to(block, shape).copy()

    return init


def uniform(low: float, high: float) -> Initializer:
    """U(low, high)."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        return rng.uniform(low, high, shape)

    return init


def identity(scale: float = 1.0, blocks: int = 1) -> Initializer:
    """`scale` times the identity matrix, once for each block of columns (Le, Jaitly & Hinton 2015, section 3)."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        del rng
        return scale * np.tile(np.eye(shape[0], shape[1] // blocks), blocks)

    return init
