"""A gradient checked along random directions, for tensors with too many entries to check each.

With δ = a − n the error of an analytic gradient a against the numeric one n, and d a direction whose entries are 1 or
−1 with equal chances, independently, E<δ, d>² = ‖δ‖²: one number, at the price of one derivative, sees the norm of the
error over all entries (the estimator of Hutchinson 1990). Directions with positive entries only would miss every error
that sums to zero; with random signs such a cancellation is a matter of chance, which several seeds make small. Beside
them a few single entries are checked, one from each of equal parts of a block (strata), where nothing can cancel. A
direction does not tell where an error is: `locate` searches for the place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from zlib import crc32

import numpy as np

from rnnbp.checking.methods.numeric import Asked, NumericMethod
from rnnbp.checking.metric import Discrepancy
from rnnbp.numerics import HostArray

EXHAUSTIVE_UP_TO = 2000  # scalars in a subject: every entry then takes a second at most; beyond, time grows with them
DIRECTIONS = 3  # the fewest per gate block: of errors in two entries of one size, one direction misses half
STRATA = 2  # single entries per gate block
EXTENTS = ("auto", "exhaustive", "directional")
PARTS = 8  # into which a search cuts what is left


def every_entry(extent: str, scalars: int) -> bool:
    """Whether so many scalars are checked entry by entry, and not along directions."""
    return extent == "exhaustive" or (extent == "auto" and scalars <= EXHAUSTIVE_UP_TO)


def sampled(
    method: NumericMethod,
    asked: Asked,
    tensor: str,
    analytic: HostArray,
    seeds: Sequence[int],
    tolerance: float,
    blocks: Sequence[str] = (),
) -> Discrepancy:
    """How far a gradient is from the numeric one, as far as directions and single entries tell.

    Each block (or the whole tensor, if it has none) gets one direction per seed, zero outside the block, and `STRATA`
    single entries. `norm` is the worst `along_error`, `maximum` the worst `entry_error`. The entry that is named is
    the worst of those checked; above the tolerance, one that was searched for in the worst block.
    """
    count, flat, many = max(len(blocks), 1), analytic.reshape(-1), len(seeds)
    directions, picks = drawn(tensor, analytic.shape, count, seeds)
    asks = ("along", tensor, count, tuple(seeds))
    slopes = asked.once(method.name, asks, lambda: method.along_blocks(asked, tensor, directions, count))
    errors, parts = np.zeros((count, 2)), cut(analytic, count)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is told as NaN
        for k, (a, ds) in enumerate(zip(parts, cut(directions[:many], count), strict=True)):
            errors[k, 0] = along_error(a, np.array([np.sum(a * d) for d in ds]), slopes[k, :many])
            errors[k, 1] = entry_error(a, flat[picks[k]], slopes[k, many:])
        if np.max(errors) <= tolerance:
            worst = int(np.argmax(np.abs(flat[picks] - slopes[:, many:])))
            index = unraveled(picks.reshape(-1)[worst], analytic.shape)
            numeric = float(slopes[:, many:].reshape(-1)[worst])
        else:
            k = int(np.argmax(np.nan_to_num(np.max(errors, axis=1), nan=np.inf)))
            start = k * parts[k].shape[-1] if count > 1 else 0
            entry, numeric = locate(partial(method.along_columns, asked, tensor, start=start), parts[k], seeds[0])
            index = unraveled(entry, parts[k].shape, start)
    norm, maximum = (nan, nan) if np.isnan(errors).any() else map(float, np.max(errors, axis=0))
    named = {name: float(np.max(pair)) for name, pair in zip(blocks, errors, strict=False)} if count > 1 else {}
    return Discrepancy(norm, maximum, index, float(analytic[index]), numeric, named)


def drawn(tensor: str, shape: tuple[int, ...], blocks: int, seeds: Sequence[int]) -> tuple[HostArray, HostArray]:
    """One direction per seed, then single entries, one in each block: (K, *shape); and which entries, (blocks, n)."""
    picks = strata(tensor, shape, blocks, seeds[0])
    directions = np.zeros((len(seeds) + picks.shape[1], *shape), dtype=np.int8)
    for k, seed in enumerate(seeds):
        directions[k] = signs(seed, tensor, shape)
    for k, entries in enumerate(picks.T, start=len(seeds)):
        directions[k].reshape(-1)[entries] = 1
    return directions, picks


def unraveled(entry: int, shape: tuple[int, ...], start: int = 0) -> tuple[int, ...]:
    """The index of an entry counted flat in a block that begins with column `start`."""
    index = tuple(int(i) for i in np.unravel_index(entry, shape))
    return (*index[:-1], index[-1] + start) if index else ()


def cut(a: HostArray, blocks: int) -> list[HostArray]:
    """The blocks side by side on the last axis, as views."""
    return np.split(a, blocks, axis=-1) if blocks > 1 else [a]


def signs(seed: int, tensor: str, shape: tuple[int, ...]) -> HostArray:
    """The direction of that seed over a whole tensor: 1 or −1 with equal chances, in a byte each."""
    drawn = np.random.default_rng([seed, crc32(tensor.encode())]).integers(0, 2, shape, dtype=np.int8)
    return 2 * drawn - 1


def strata(tensor: str, shape: tuple[int, ...], blocks: int, seed: int) -> HostArray:
    """One random entry from each of `STRATA` equal parts of every block, (blocks, up to STRATA) flat indices."""
    rng = np.random.default_rng([seed, crc32(tensor.encode()), STRATA])
    size = int(np.prod(shape)) // blocks
    edges = np.linspace(0, size, min(STRATA, size) + 1).astype(int)
    inside = [part.reshape(-1) for part in cut(np.arange(size * blocks).reshape(shape), blocks)]
    return np.stack([part[rng.integers(edges[:-1], edges[1:])] for part in inside])


def along_error(analytic: HostArray, along: HostArray, numeric: HostArray) -> float:
    """The largest |<a,d> − <n,d>| / max(‖a‖, max |<n,d>|) over directions d, given a, <a,d> and <n,d>.

    The norm of the gradient is the scale, for <a,d> may be close to zero by chance. No absolute part: two exact zeros
    agree, zero against anything else is 1. NaN where something is not finite.
    """
    largest = float(np.max(np.abs(analytic), initial=0.0))
    worst, found = float(np.max(np.abs(along - numeric))), float(np.max(np.abs(numeric)))
    if not np.isfinite(largest + worst + found):
        return nan
    norm = largest * float(np.linalg.norm(analytic / largest)) if largest else 0.0  # squares of tiny numbers vanish
    return worst / max(norm, found) if norm and found else float(norm != found)


def entry_error(analytic: HostArray, picked: HostArray, numeric: HostArray) -> float:
    """The largest |a−n| of the entries picked, in units of max(|a|, |n|)∞, a's maximum being over the whole block."""
    scale = max(float(np.max(np.abs(side), initial=0.0)) for side in (analytic, numeric))
    worst = float(np.max(np.abs(picked - numeric), initial=0.0))
    return nan if not np.isfinite(scale + worst) else worst / scale if scale else 0.0


def locate(along: Callable[[HostArray], HostArray], analytic: HostArray, seed: int) -> tuple[int, float]:
    """One of the entries of a block where the gradient is wrong, counted flat, and the numeric value there.

    `along` takes directions (K, *shape of the block). What is left of the block is cut in `PARTS`, each gets random
    signs, and the search goes on in the part with the largest |<δ, d>|: where a single entry is wrong it ends there,
    where many are it ends at one of the larger errors.
    """
    rng, flat, entries = np.random.default_rng(seed), analytic.reshape(-1), np.arange(analytic.size)
    while True:
        parts = np.array_split(entries, min(PARTS, len(entries)))
        directions = np.zeros((len(parts), flat.size), dtype=np.int8)
        for direction, part in zip(directions, parts, strict=True):
            direction[part] = 2 * rng.integers(0, 2, len(part)) - 1
        found = np.array([np.sum(flat[part] * d[part]) for part, d in zip(parts, directions, strict=True)])
        numeric = along(directions.reshape(-1, *analytic.shape))
        k = int(np.argmax(np.nan_to_num(np.abs(found - numeric), nan=np.inf)))
        entries = parts[k]
        if len(entries) == 1:
            return int(entries[0]), float(numeric[k] * directions[k, entries[0]])
