"""Array helpers that every module shares.

All of them are holomorphic near the real axis and write to nothing, so that complex steps, dual numbers,
autodiff oracles and tracers can pass through. Axes are named once, in `rnnbp/__init__.py`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_jax_array, is_numpy_array

from rnnbp.errors import UserError

Array: TypeAlias = Any
"""An array of any library with the array API: they share no type."""
Namespace: TypeAlias = Any
"""The module that holds the functions of an array library, usually called xp."""
HostArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def sigmoid(xp: Namespace, a: Array) -> Array:
    """σ(a) = 1 / (1 + exp(-a)), written 0.5 tanh(0.5 a) + 0.5: no overflow, no branch, right for complex a."""
    return 0.5 * xp.tanh(0.5 * a) + 0.5


def relu(xp: Namespace, a: Array) -> Array:
    """max(a, 0), with derivative 0 at 0; the branch looks at the real part only."""
    return xp.where(xp.real(a) > 0, a, xp.zeros_like(a))


def detach(x: Array) -> Array:
    """X with its derivative cut: the value passes, no error flows back.

    In a complex step the real part is taken (same dtype); operands that carry their own derivative (dual numbers,
    tracers) answer through a method `detach`; torch and JAX arrays are cut from their graph.
    """
    if is_jax_array(x):
        from jax import lax  # loaded already: x came from it

        x = lax.stop_gradient(x)
    elif hasattr(x, "detach"):
        x = x.detach()
    if not is_array_api_obj(x):
        return x
    xp = array_namespace(x)
    return xp.astype(xp.real(x), x.dtype) if xp.isdtype(x.dtype, "complex floating") else x


def matmul(xp: Namespace, a: Array, w: Array) -> Array:
    """A @ w as one GEMM where w is a plain matrix: (..., M, K) @ (K, N) with the leading axes folded into the rows."""
    if w.ndim == 2 and a.ndim > 2:
        return xp.reshape(xp.matmul(xp.reshape(a, (-1, a.shape[-1])), w), (*a.shape[:-1], w.shape[-1]))
    return xp.matmul(a, w)


def fold(xp: Namespace, a: Array) -> Array:
    """(..., T, B, N) -> (..., TB, N)."""
    return xp.reshape(a, (*a.shape[:-3], a.shape[-3] * a.shape[-2], a.shape[-1]))


def unfold(xp: Namespace, a: Array, steps: int) -> Array:
    """(..., TB, N) -> (..., T, B, N)."""
    return xp.reshape(a, (*a.shape[:-2], steps, a.shape[-2] // steps, a.shape[-1]))


def packed(xp: Namespace, a: Array) -> Array:
    """The same array laid out row by row, where a transpose may be a view on columns."""
    return xp.reshape(xp.reshape(a, (-1,)), a.shape)


def chunks(a: Array, n: int) -> list[Array]:
    """The last axis cut into n equal parts, as views where the library has them."""
    width = a.shape[-1] // n
    return [a[..., k * width : (k + 1) * width] for k in range(n)]


def zeros(xp: Namespace, shape: tuple[int, ...], like: Array) -> Array:
    """Zeros with the dtype and on the device of `like`."""
    return xp.zeros(shape, dtype=like.dtype, device=device(like))


def broadcast(xp: Namespace, a: Array, lead: tuple[int, ...], trailing: int) -> Array:
    """A with its leading axes spread to `lead`, its last `trailing` axes as they are."""
    shape = (*lead, *a.shape[a.ndim - trailing :])
    return a if a.shape == shape else xp.broadcast_to(a, shape)


def freeze(a: Array) -> Array:
    """A read-only view of a NumPy array, for what a forward returns. Others pass as they are.

    A view, because the array may be the caller's own: a cell can hand a state on as it came. Only what is returned is
    read-only: a backward keeps its inputs by reference, and gives the same again as long as nobody writes to them.
    """
    if is_numpy_array(a):
        a = a.view()
        a.flags.writeable = False
    return a


def one_namespace(**arrays: Array) -> Namespace:
    """The namespace that all arrays share; a mixture is a UserError that says which array came from where."""
    try:
        return array_namespace(*arrays.values())
    except TypeError:
        kinds = ", ".join(f"{name} is {type(a).__module__}.{type(a).__name__}" for name, a in arrays.items())
        raise UserError(f"arrays must all come from one backend; {kinds}: convert with backend.asarray") from None


def real_dtype(xp: Namespace, a: Array) -> str:
    """'float32' or 'float64': the precision of a, whether it is real or complex."""
    for name, complex_name in (("float32", "complex64"), ("float64", "complex128")):
        if a.dtype in (getattr(xp, name), getattr(xp, complex_name)):
            return name
    return str(a.dtype).rpartition(".")[2]
