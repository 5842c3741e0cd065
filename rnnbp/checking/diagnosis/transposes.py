"""The transposes of functions that move, copy or add up entries.

Each takes which argument is meant, the error of the value, the value, the arguments and the options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnbp.numerics import HostArray


def unbroadcast(error: HostArray, shape: tuple[int, ...]) -> HostArray:
    """The error of an array that was spread to a larger shape: summed over what was copied."""
    if error.shape == shape:
        return error
    error = np.sum(error, axis=tuple(range(error.ndim - len(shape))))
    spread = tuple(axis for axis, n in enumerate(shape) if n == 1 and error.shape[axis] != 1)
    return np.sum(error, axis=spread, keepdims=True) if spread else np.asarray(error)


def _getitem(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    whole = np.zeros(values[0].shape)
    np.add.at(whole, values[1], error)
    return whole


def _take(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    axis = options.get("axis", 0)
    whole = np.moveaxis(np.zeros(values[0].shape), axis, 0)  # a view: the additions below reach the array behind it
    np.add.at(whole, values[1], np.moveaxis(error, axis, 0))
    return np.moveaxis(whole, 0, axis)


def _matmul(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    a, b = values
    other: HostArray = error @ np.swapaxes(b, -1, -2) if k == 0 else np.swapaxes(a, -1, -2) @ error
    return unbroadcast(other, values[k].shape)


def _concat(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    parts, axis = values[0], options.get("axis", 0)
    at = sum(part.shape[axis] for part in parts[:k])
    return np.asarray(np.take(error, range(at, at + parts[k].shape[axis]), axis=axis))


def _stack(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    return np.asarray(np.take(error, k, axis=options.get("axis", 0)))


def _sum(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    axis = options.get("axis")
    if axis is not None and not options.get("keepdims"):
        error = np.expand_dims(error, axis)
    return np.broadcast_to(error, values[0].shape)


def _mean(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    share: HostArray = _sum(k, error, value, values, options) * (value.size / values[0].size)
    return share


def _extreme(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    """The entries that are the maximum share its error."""
    there = values[0] == _sum(k, value, value, values, options)
    share: HostArray = _sum(k, error, value, values, options) * there
    return np.asarray(share / np.sum(there, axis=options.get("axis"), keepdims=True))


def _roll(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    shift = options["shift"] if "shift" in options else values[1]
    return np.asarray(np.roll(error, np.negative(shift), options.get("axis")))


def _cumulative_sum(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    """The sum of all errors from each entry on."""
    axis = options.get("axis") or 0
    later = np.flip(np.cumsum(np.flip(error, axis), axis=axis), axis)
    return np.asarray(np.take(later, range(-values[0].shape[axis], 0), axis=axis))  # an initial zero has no error


def _permute(k: int, error: HostArray, value: HostArray, values: list[Any], options: Any) -> HostArray:
    axes = options["axes"] if "axes" in options else values[1]
    return np.transpose(error, tuple(np.argsort(axes)))


TRANSPOSES: dict[str, Callable[..., HostArray]] = {
    "astype": lambda k, error, value, values, options: error,
    "real": lambda k, error, value, values, options: error,
    "broadcast_to": lambda k, error, value, values, options: unbroadcast(error, values[0].shape),
    "reshape": lambda k, error, value, values, options: np.reshape(error, values[0].shape),
    "expand_dims": lambda k, error, value, values, options: np.reshape(error, values[0].shape),
    "squeeze": lambda k, error, value, values, options: np.reshape(error, values[0].shape),
    "flip": lambda k, error, value, values, options: np.flip(error, options.get("axis")),
    "matrix_transpose": lambda k, error, value, values, options: np.swapaxes(error, -1, -2),
    "permute_dims": _permute,
    "roll": _roll,
    "cumulative_sum": _cumulative_sum,
    "getitem": _getitem,
    "matmul": _matmul,
    "take": _take,
    "concat": _concat,
    "stack": _stack,
    "sum": _sum,
    "mean": _mean,
    "max": _extreme,
    "min": _extreme,
}
