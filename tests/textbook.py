"""Recurrent networks as textbooks write them, in NumPy alone: what explained numbers are held to.

Parameters may have a leading axis of copies, complex ones too; v without its derivative, sg(v), is the real part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from helpers import STEP, sigma

Params = Mapping[str, Any]


def lstm_step(p: Params, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """The states behind one step of an LSTM with gates i, f, g, o, and peepholes where there are any."""
    i, f, g, o = np.split(x @ p["W"] + h @ p["U"] + p["b"][..., None, :], 4, axis=-1)
    c1 = sigma(f + p.get("pf", 0) * c) * c + sigma(i + p.get("pi", 0) * c) * np.tanh(g)
    return sigma(o + p.get("po", 0) * c1) * np.tanh(c1), c1


def outputs(p: Params, xs: Any, cut: str = "", k: int = 0) -> Any:
    """The outputs (T, ..., B, H) of an LSTM. cut: errors stop at h ("h") or at both ("hc"), before every k-th step."""
    h = c = np.zeros((xs.shape[1], p["U"].shape[-2]))
    ys = []
    for t, x in enumerate(xs):
        h = np.real(h) if "h" in cut and t % k == 0 else h
        c = np.real(c) if "c" in cut and t % k == 0 else c
        h, c = lstm_step(p, x, h, c)
        ys.append(h)
    return np.stack(ys)


def gradient(loss: Callable[[Params], Any], p: Params) -> dict[str, Any]:
    """By complex steps, all entries of a parameter side by side."""
    found = {}
    for name, w in p.items():
        units = np.eye(w.size).reshape(w.size, *w.shape)
        found[name] = np.imag(loss({**p, name: w + 1j * STEP * units})).reshape(w.shape) / STEP
    return found


def jacobian(step: Callable[[Any], Any], s: Any) -> Any:
    """∂step(s)/∂s, (B, N, N), of s (B, N)."""
    units = np.eye(s.shape[-1])[:, None, :]
    return np.moveaxis(np.imag(step(s + 1j * STEP * units)) / STEP, 0, -1)


def vector(gradients: Mapping[str, Any]) -> Any:
    """All parameters side by side."""
    return np.concatenate([np.ravel(d) for d in gradients.values()])


def cosine(a: Any, b: Any) -> float:
    """Of the angle between two vectors."""
    return float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))
