"""The backward of the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnbp.cellbase import Cotangents, State
from rnnbp.fastpath import in_order, linear
from rnnbp.numerics import Array, chunks
from rnnbp.truncation import Window
from rnnbp.unrolling import ScanBackward
from rnnbp.validation import check_cotangents, check_window
from rnnbp_cupy.problems import Left, Problem


def backward_of(q: Problem, left: Left, s_T: State) -> ScanBackward:
    """backward(dys, ds_T, window) -> dparams, dxs, ds_start. It only reads what the forward left."""
    steps, batch, _, _ = q.sizes

    def backward(
        dys: Array | None = None, ds_T: State | None = None, window: Window | None = None
    ) -> tuple[dict[str, Array], Array, State]:
        found = check_window(Window(0, 0, steps) if window is None else window, steps, q.reverse)
        check_cotangents(q.cell, (steps, batch), dys, ds_T, s_T[0])
        return linear(q.xp, Pass(q, left, found).run, dys, ds_T or (None,) * len(s_T))

    return backward


@dataclass(frozen=True, eq=False)
class Pass:
    """One run of the backward through one window."""

    q: Problem
    left: Left
    window: Window

    def run(self, dys: Array | None, ds_T: Cotangents) -> tuple[dict[str, Array], Array, State]:
        """dparams, dxs, ds_start for real cotangents without copies."""
        q, (start, _, stop) = self.q, self.window
        _, batch, _, n = q.sizes
        plan, xp = q.kernels.layout, q.xp
        ends = ds_T if stop == q.sizes[0] else (None,) * len(ds_T)
        errors = {
            name: self._zeros() if d is None else d.astype(q.real) for name, d in zip(q.cell.states, ends, strict=True)
        }
        errors = {name: xp.ascontiguousarray(d) for name, d in errors.items()}
        sums = {name: self._zeros() for name in q.cell.elementwise}
        dz = xp.empty((stop - start, batch, len(plan.columns) * n), dtype=q.xs.dtype)
        fed = self._steps(dys, dz, errors, sums)
        dp, dxs = self._products(dz)
        dp |= {name: self._total(name, total) for name, total in sums.items()}
        return {name: dp[name] for name in q.cell.params if name in dp}, dxs, self._entered(errors, fed)

    def _steps(
        self, dys: Array | None, dz: Array, errors: Mapping[str, Array], sums: Mapping[str, Array]
    ) -> Array | None:
        """Run the kernel from the last step of the window to its first; what U sends back from there, or None."""
        q, left, (start, lo, stop) = self.q, self.left, self.window
        xp = q.xp
        arrays = {**q.given, "dys": None if dys is None else xp.ascontiguousarray(dys), "dz": dz}
        arrays |= {"xW": left.xw, "extra": left.extra, "fed back": None}
        arrays |= {f"states {name}": z for name, z in left.states.items()}
        arrays |= {f"error {name}": d for name, d in errors.items()}
        arrays |= {f"gradient {name}": d for name, d in sums.items()}
        feed, u = None, self._feedback()
        if u is not None:
            arrays["fed back"] = xp.empty((q.sizes[1], u.shape[0]), dtype=q.real)
            feed = q.device.product(self._of_h(dz), u.T, arrays["fed back"])
        step = q.launcher("backward", arrays)
        for k in reversed(range(start, stop)):
            t = q.time(k)
            later = -1 if k + 1 == stop else q.time(k + 1)
            step(t, t - start, q.slot(k), q.slot(k + 1), later, int(dys is not None and t >= lo))
            if feed is not None:
                feed(t - start)
            if self.window.decay != 1:
                self._decay(t, errors, arrays["fed back"])
        return arrays["fed back"]

    def _decay(self, t: int, errors: Mapping[str, Array], fed: Array | None) -> None:
        """What comes back to the states before step t, times the window's decay; a masked step lets its error by."""
        q, decay = self.q, self.window.decay
        factor = decay if q.mask is None else q.xp.where(q.mask[t][:, None], decay, 1.0)
        for d in errors.values():
            d *= factor
        if fed is not None:
            fed *= decay

    def _feedback(self) -> Array | None:
        """U in the order of the last blocks of dz, columns of gates in `cut` zero; None where nothing is fed back."""
        q = self.q
        plan, cell = q.kernels.layout, q.cell
        if not cell.recurrent or set(cell.cut) >= set(plan.gates):
            return None
        u = q.params["U"]
        if not cell.cut and plan.of_h == plan.gates:
            return u
        blocks = dict(zip(plan.gates, chunks(u, len(plan.gates)), strict=True))
        return q.xp.concatenate([0 * blocks[g] if g in cell.cut else blocks[g] for g in plan.of_h], axis=1)

    def _of_h(self, dz: Array) -> Array:
        """The errors of h U: the last G blocks."""
        return dz[..., dz.shape[-1] - len(self.q.cell.gates) * self.q.cell.hidden_size :]

    def _products(self, dz: Array) -> tuple[dict[str, Array], Array]:
        """The gradients of W, U and b, and of xs, each in one product."""
        q, (start, _, stop) = self.q, self.window
        steps, batch, n_in, n = q.sizes
        xp, plan, dtype = q.xp, q.kernels.layout, q.xs.dtype
        rows, wide = (stop - start) * batch, len(plan.gates) * n
        flat = dz.reshape(rows, dz.shape[-1])
        of_x, of_h = flat[:, :wide], flat[:, flat.shape[1] - wide :]
        dp = {"W": self._gradient(q.xs[start:stop].reshape(rows, n_in), of_x, plan.of_x)}
        if self.left.context is not None:
            first = start + int(q.reverse)
            entered = self.left.context[first : first + stop - start].reshape(rows, -1)
            dp["U"] = self._gradient(entered, of_h, plan.of_h)
        if q.cell.bias:
            dp["b"] = self._gradient(xp.ones((rows, 1), dtype=dtype), of_x, plan.of_x)[0]
        dxs = xp.zeros((steps, batch, n_in), dtype=dtype)
        w = in_order(xp, q.params["W"], plan.gates, plan.of_x)
        q.device.product(of_x[None], w.T, dxs[start:stop].reshape(rows, n_in))(0)
        return dp, dxs

    def _gradient(self, a: Array, dz: Array, order: Sequence[str]) -> Array:
        """aᵀ dz, its blocks from their order in dz to that of the gates."""
        q = self.q
        out = q.xp.empty((a.shape[1], dz.shape[1]), dtype=q.real)
        q.device.product(a.T[None], dz, out)(0)
        return in_order(q.xp, out, order, q.kernels.layout.gates).astype(q.xs.dtype, copy=False)

    def _total(self, name: str, parts: Array) -> Array:
        """The gradient of an elementwise parameter, (H,) or (1,), from its parts (B, H)."""
        total = self.q.xp.sum(parts, axis=0)
        if self.q.cell.elementwise[name].shape == (1,):
            total = self.q.xp.sum(total, keepdims=True)
        return total.astype(self.q.xs.dtype, copy=False)

    def _entered(self, errors: Mapping[str, Array], fed: Array | None) -> State:
        """The error of the state that enters the window: nothing flows back over a reset of its first step."""
        q, found = self.q, []
        n = q.cell.hidden_size
        for name, d in errors.items():
            if fed is not None and name in q.cell.recurrent:
                at = q.cell.recurrent.index(name) * n
                drop = q.drop(name, self.window.start)
                d = d + (fed[:, at : at + n] if drop is None else fed[:, at : at + n] * drop)
            if q.resets is not None:
                d = q.xp.where(q.resets[q.time(self.window.start)][:, None], q.xp.zeros_like(d), d)
            found.append(d.astype(q.xs.dtype, copy=False))
        return tuple(found)

    def _zeros(self) -> Array:
        return self.q.xp.zeros((self.q.sizes[1], self.q.cell.hidden_size), dtype=self.q.real)
