"""What lies between layers: dropout on what a layer reads, and its input added to what it gives."""

from __future__ import annotations

from array_api_compat import array_namespace, device

from rnnbp.numerics import Array
from rnnbp.truncation import Window
from rnnbp.validation import check_arrays, check_dtypes, check_shape


def dropped(xs: Array, m: Array | None, name: str) -> Array:
    """The sequence x ∘ m for a dropout mask m (..., T, B, N), or xs where there is none; its errors, the same way."""
    if m is None or xs is None:
        return xs
    xp = check_arrays(**{"xs": xs, name: m})
    check_shape(name, m, tuple(xs.shape[-3:]), "(..., T, B, N)")
    check_dtypes(xp, **{"xs": xs, name: m})
    return xs * m


def seen(a: Array, mask: Array | None, window: Window | None = None) -> Array:
    """A sequence (..., T, B, N) at the steps that are not masked and lie in the window, zero at the others."""
    if a is None or (mask is None and window is None):
        return a
    xp = array_namespace(a)
    t = xp.reshape(xp.arange(a.shape[-3], device=device(a)), (-1, 1))
    here = (t >= 0) if window is None else (t >= window.lo) & (t < window.stop)  # (T, 1)
    here = here if mask is None else here & mask
    return xp.where(here[..., None], a, xp.zeros_like(a))


def plus(a: Array, b: Array) -> Array:
    """The sum of two errors, None being zero."""
    return b if a is None else a if b is None else a + b
