"""A scan over all steps at once, for cells that are affine in their only state, which no gate sees.

Two steps of h_t = a_t ∘ h_{t−1} + b_t are one such step: h_{t+1} = (a_{t+1} a_t) ∘ h_{t−1} + (a_{t+1} b_t + b_{t+1}).
So a sequence half as long gives every other state, and one more step for all of them gives the rest: O(T) products in
O(log T) array operations (Blelloch 1990; Martin & Cundy 2018, arXiv 1709.04057). Nothing is divided by a product of
a's, which may underflow: what has decayed to zero is zero.
"""

from __future__ import annotations

from typing import Any

from rnnbp import Array, Namespace, Params, PointwiseCell, State, Window


def recurrence(xp: Namespace, a: Array, b: Array, h: Array) -> Array:
    """h_t = a_t ∘ h_{t−1} + b_t for all t, (..., T, B, H) like a and b; h (..., B, H) is the state before the first."""
    a, b, h = xp.broadcast_arrays(a, b, h[..., None, :, :])
    return _from_zero(
        xp, a, xp.concat([a[..., :1, :, :] * h[..., :1, :, :] + b[..., :1, :, :], b[..., 1:, :, :]], axis=-3)
    )


def _from_zero(xp: Namespace, a: Array, b: Array) -> Array:
    """The same from the state 0."""
    steps = b.shape[-3]
    if steps == 1:
        return b
    even, odd, later = slice(0, steps // 2 * 2, 2), slice(1, None, 2), slice(2, None, 2)
    a_odd = a[..., odd, :, :]
    h_odd = _from_zero(xp, a_odd * a[..., even, :, :], a_odd * b[..., even, :, :] + b[..., odd, :, :])
    h_later = a[..., later, :, :] * h_odd[..., : (steps - 1) // 2, :, :] + b[..., later, :, :]
    h_even = xp.concat([b[..., :1, :, :], h_later], axis=-3)
    pairs = xp.stack([h_even[..., : steps // 2, :, :], h_odd], axis=-3)  # (..., T/2, 2, B, H)
    joined = xp.reshape(pairs, (*b.shape[:-3], steps // 2 * 2, *b.shape[-2:]))
    return joined if steps % 2 == 0 else xp.concat([joined, h_even[..., -1:, :, :]], axis=-3)


def recurrence_backward(xp: Namespace, a: Array, dhs: Array, dh: Array) -> Array:
    """All the error of each h_t: dh_t = dhs_t + a_{t+1} dh_{t+1}, from the last, which gets dh besides."""
    ahead = xp.concat([a[..., 1:, :, :], xp.ones_like(a[..., :1, :, :])], axis=-3)
    return xp.flip(recurrence(xp, xp.flip(ahead, axis=-3), xp.flip(dhs, axis=-3), dh), axis=-3)


def parallel_scan(
    cell: PointwiseCell,
    xp: Namespace,
    p: Params,
    xs: Array,
    s0: State,
    *,
    mask: Array | None,
    resets: Array | None,
    reverse: bool,
    record: bool,
    **others: Any,
) -> Any:
    """`Cell.scan` for a cell with `recurrent = ()`, no data and one state, zero at first, in which its step is affine.

    What it does not take is NotImplemented, so that the loop runs: a record, which the loop keeps as it goes, and any
    option that this version of the contract does not have.
    """
    if record or any(option for name, option in others.items() if name != "keep"):
        return NotImplemented

    def turn(z: Array) -> Array:
        return z if z is None or not reverse else xp.flip(z, axis=-3)

    masked, anew = (None if f is None else turn(f[:, :, None]) for f in (None if mask is None else ~mask, resets))
    ys, s_T, back = _in_order(cell, xp, p, turn(xs), s0[0], masked, anew)

    def backward(dys: Array | None, ds_T: State | None, window: Window) -> tuple[dict[str, Array], Array, State]:
        dparams, dxs, ds = back(turn(dys), ds_T, window)
        return dparams, turn(dxs), ds

    return turn(ys), s_T, backward


def _in_order(
    cell: PointwiseCell, xp: Namespace, p: Params, xs: Array, h: Array, masked: Array | None, anew: Array | None
) -> tuple[Array, State, Any]:
    """The scan in the order of xs, with flags (T, B, 1). A masked step has a = 1 and b = 0, one that starts anew a = 0.

    Backward: the errors of all states are the recurrence from the last step to the first; the cell's own `pointwise`
    makes those of the gates of them, at all steps at once.
    """
    steps = xs.shape[-3]
    ax = _unfold(xp, cell.project(xp, p, _fold(xp, xs)), steps)  # (..., T, B, GH)
    a, b = _coefficients(xp, cell, p, ax)
    a, b = _put(xp, anew, 0, _put(xp, masked, 1, a)), _put(xp, masked, 0, b)  # [1]
    hs = recurrence(xp, a, b, h)  # [2]
    first = xp.broadcast_to(h[..., None, :, :], hs[..., :1, :, :].shape)
    entered = _put(xp, anew, 0, xp.concat([first, hs[..., :-1, :, :]], axis=-3))
    ys = _put(xp, masked, 0, hs)  # [3]

    def backward(dys: Array | None, ds_T: State | None, window: Window) -> tuple[dict[str, Array], Array, State]:
        start, lo, stop = window

        def within(z: Array) -> Array:
            return None if z is None else z[..., start:stop, :, :]

        dhs, of_last = xp.zeros_like(within(hs)), xp.zeros_like(hs[..., -1, :, :])
        if dys is not None:
            dhs = dhs + _put(xp, within(masked), 0, within(dys))  # [3]
            dhs = xp.concat([xp.zeros_like(dhs[..., : lo - start, :, :]), dhs[..., lo - start :, :, :]], axis=-3)
        if ds_T is not None and ds_T[0] is not None:
            of_last = ds_T[0] if stop == steps else xp.zeros_like(ds_T[0])
        dh = recurrence_backward(xp, within(a), dhs, of_last)  # [2]
        through = _put(xp, within(masked), 0, dh)  # [1]
        dparams, dxs = _gradients(xp, cell, p, within(xs), within(ax), within(entered), through)
        zero = xp.zeros_like(dxs[..., :1, :, :])
        dxs = xp.concat([zero] * start + [dxs] + [zero] * (steps - stop), axis=-3)
        return dparams, dxs, (a[..., start, :, :] * dh[..., 0, :, :],)  # [2]

    return ys, (hs[..., -1, :, :],), backward


def _coefficients(xp: Namespace, cell: PointwiseCell, p: Params, ax: Array) -> tuple[Array, Array]:
    """A and b of h' = a ∘ h + b: b is h' at h = 0, and a what the cell's backward makes of an error of 1."""
    gates = cell.preactivations(xp, p, ax, None)
    (b,), back = cell.pointwise(xp, gates, (xp.zeros_like(gates[0]),), {}, {})
    _, (a,), _ = back((xp.ones_like(b),))
    return a, b


def _gradients(
    xp: Namespace, cell: PointwiseCell, p: Params, xs: Array, ax: Array, h: Array, dh: Array
) -> tuple[dict[str, Array], Array]:
    """The errors of all new states -> dparams, dxs: the cell's own backward, at all steps at once."""
    _, back = cell.pointwise(xp, cell.preactivations(xp, p, ax, None), (h,), {}, {})
    dax, _ = cell.join(xp, back((dh,))[0], dh)
    rows = _fold(xp, dax)  # (..., TB, GH)
    dparams = {"W": xp.matmul(xp.matrix_transpose(_fold(xp, xs)), rows)}
    if cell.bias:
        dparams["b"] = xp.sum(rows, axis=-2)
    return dparams, _unfold(xp, xp.matmul(rows, xp.matrix_transpose(p["W"])), dh.shape[-3])


def _put(xp: Namespace, where: Array | None, value: float, z: Array) -> Array:
    """Z with a value at the steps that a flag (T, B, 1) names."""
    return z if where is None else xp.where(where, xp.full_like(z, value), z)


def _fold(xp: Namespace, z: Array) -> Array:
    """(..., T, B, N) -> (..., TB, N)."""
    return xp.reshape(z, (*z.shape[:-3], -1, z.shape[-1]))


def _unfold(xp: Namespace, z: Array, steps: int) -> Array:
    """(..., TB, N) -> (..., T, B, N)."""
    return xp.reshape(z, (*z.shape[:-2], steps, -1, z.shape[-1]))
