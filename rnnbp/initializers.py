"""How parameters are drawn: functions (rng, shape) -> float64 host array, the same numbers on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Initializer: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], HostArray]


def glorot_uniform(blocks: int = 1) -> Initializer:
    """U(-l, l) with l = sqrt(6 / (fan_in + fan_out)), fan_out per block of columns (Glorot & Bengio 2010, eq. 16)."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        rows, columns = _matrix("glorot_uniform", shape)
        limit = (6 / (rows + columns / blocks)) ** 0.5
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
    """`scale` times the identity matrix, once for each block of columns (Le, Jaitly & Hinton 2015)."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        del rng
        rows, columns = _matrix("identity", shape)
        return scale * np.tile(np.eye(rows, columns // blocks), blocks)

    return init


def torch_uniform(blocks: int = 1) -> Initializer:
    """U(-1/√H, 1/√H), H being the width of a block of columns: the default of `torch.nn.RNN`, `LSTM` and `GRU`."""

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        limit = (shape[-1] / blocks) ** -0.5
        return rng.uniform(-limit, limit, shape)

    return init


def orthogonal(gain: float = 1.0, blocks: int = 1) -> Initializer:
    """Blocks of columns, each an orthogonal matrix times `gain` (Saxe, McClelland & Ganguli 2014, arXiv 1312.6120).

    Haar-uniform: Q of a normal matrix's QR, its columns turned so that R's diagonal is positive (Mezzadri 2007).
    A block that is not square has orthonormal columns, or rows where it is wider than high.
    """

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        rows, columns = _matrix("orthogonal", shape)
        width = columns // blocks
        drawn = []
        for _ in range(blocks):
            q, r = np.linalg.qr(rng.standard_normal((max(rows, width), min(rows, width))))
            q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
            drawn.append(gain * (q if rows >= width else q.T))
        return np.concatenate(drawn, axis=-1)

    return init


def chrono(t_max: float) -> Initializer:
    """The bias log U(1, T_max − 1) of a gate that keeps a memory: for 1/(1 − σ(b)) steps, from 2 to T_max
    (Tallec & Ollivier 2018, arXiv 1804.11188).
    """
    if not t_max > 2:
        raise UserError(f"chrono needs T_max above 2, in steps; got {t_max}")

    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        return np.log(rng.uniform(1.0, t_max - 1.0, shape))

    return init


def _matrix(what: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise UserError(f"{what} needs a matrix; got shape {shape}")
    return shape
