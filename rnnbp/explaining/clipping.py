"""Does clipping help, and does it change the direction?"""

from __future__ import annotations

import numpy as np

from rnnbp.around.clipping import clipped
from rnnbp.checking.distances import separation
from rnnbp.explaining.answers import Answer, Formula, Table, fixed, num
from rnnbp.explaining.examples import HIDDEN, Gradients, flat, orthogonal_rnn, scanned
from rnnbp.flow.growing import growth
from rnnbp.flow.lags import lag_decomposition
from rnnbp.flow.trajectories import Trajectory
from rnnbp.losses import MeanSquaredError
from rnnbp.numerics import HostArray
from rnnbp.optim import SGD
from rnnbp.training.clipping import clip

QUESTION = "Does clipping help, and does it change the direction?"
STEPS = 50
SCALES = (0.5, 1.5, 2.0, 3.0)
RATE = 0.02
LONG = 25  # lags from here on are told apart
LIMITS = {"norm": 2.0, "tensor": 2.0, "value": 0.1, "step": 0.01}
KINDS = {
    "norm": "by norm, all parameters together",
    "tensor": "by norm, each parameter by itself",
    "value": "by value",
    "step": "errors, at every step back",
}
TURNED = 2.0  # the scale of U at which directions are compared


def answer() -> Answer:
    """One step of gradient descent with and without clipping, and the angle of each way of clipping."""
    n = {key: value for scale in SCALES for key, value in descent(scale).items()} | directions(TURNED)
    names = ("exponent", "norm", "long", "before", "plain", "clipped")
    rows = [(num(s), *(num(n[f"{s}.{name}"]) for name in names)) for s in SCALES]
    turned = [(said, num(LIMITS[k]), fixed(n[f"{k}.ratio"]), fixed(n[f"{k}.cosine"])) for k, said in KINDS.items()]
    return Answer(
        "clipping",
        QUESTION,
        "It bounds the step of gradient descent where gradients explode, and does nothing where they vanish. By global "
        "norm the direction stays; by parameter, by value and step by step it turns.",
        (
            Formula(
                (
                    "by norm    g ← g min(1, c / ‖g‖)                       Pascanu et al. 2013",
                    "by value   g_j ← min(max(g_j, −c), c)",
                    "by step    da_t ← min(max(da_t, −c), c) on the way     Graves 2013",
                )
            ),
            f"A tanh network, T={STEPS}, with U = s × an orthogonal matrix, and the squared error to random targets: "
            f"its loss before and after one step of gradient descent with rate {RATE}, plain and clipped to norm "
            f"{num(LIMITS['norm'])}.",
            Table(("s", "exponent", "‖g‖", f"lags ≥ {LONG}", "loss", "plain step", "clipped step"), tuple(rows)),
            "Where the exponent is above 0 a plain step leaves the region that the gradient knows. Clipped it stays "
            "near. That the loss falls then is not promised: the further the exponent is above 0, the more of g comes "
            f"from long lags (the column is ‖part of g from lags {LONG} and more‖ / ‖g‖).",
            f"For s = {num(SCALES[0])} errors vanish: ‖g‖ is below the limit, and the step is the same. Clipping gives "
            "back nothing that was lost on the way; by norm it scales every lag alike.",
            f"The direction, for s = {num(TURNED)}, with limits c:",
            Table(("clipped", "c", "‖clipped‖/‖g‖", "cosine to g"), tuple(turned)),
            "Clipping at every step changes what is carried on, not only the result. It is not linear in the error, as "
            "the backward of every forward is: such a backward is the derivative of none. Check gradients before "
            "clipping.",
            "Adam divides by a running mean of the gradient's size: its steps are bounded without clipping (Kingma & "
            "Ba 2015), which there keeps one large gradient from ruling that mean.",
        ),
        n,
        ("rnnbp train --task adding --clip-norm 1 --clip-value 0.01 --steps 20 --out runs/clipped",),
        "training.md",
    )


def targets() -> HostArray:
    """The same for all, (T, B, H), within ±½."""
    path = orthogonal_rnn(1.0, 0.5, STEPS)
    drawn = np.random.default_rng(1).uniform(-0.5, 0.5, (*path.xs.shape[:2], HIDDEN))
    return np.asarray(drawn)


def loss_of(path: Trajectory) -> tuple[float, HostArray, Gradients]:
    """The mean squared error of the outputs, the errors that it leaves on them, and its gradient."""
    ys, back = scanned(path)
    loss, loss_back = MeanSquaredError()(ys, targets())
    dys = loss_back()
    return float(loss), dys, {name: np.asarray(d) for name, d in back(dys)[0].items()}


def descent(scale: float) -> dict[str, float]:
    """The loss before a step of gradient descent and after it, with and without a limit on the norm."""
    path = orthogonal_rnn(scale, 0.5, STEPS)
    before, dys, g = loss_of(path)
    n = {"exponent": float(np.mean(growth(path).exponent)), "norm": float(np.linalg.norm(flat(g))), "before": before}
    short = lag_decomposition(path, dys, LONG - 1).gradient
    n["long"] = separation(flat({name: d - short[name] for name, d in g.items()}), flat(g)).ratio
    for name, step in (("plain", g), ("clipped", clip(g, {"norm": LIMITS["norm"]}).gradients)):
        n[name] = loss_of(moved(path, step))[0]
    return {f"{scale}.{name}": value for name, value in n.items()}


def moved(path: Trajectory, step: Gradients) -> Trajectory:
    """The network after one step of gradient descent."""
    optimizer = SGD(RATE)
    params = optimizer.update(path.params, step, optimizer.init(path.params))[0]
    return Trajectory(path.cell, params, path.xs)


def directions(scale: float) -> dict[str, float]:
    """Norm ratio and cosine of the clipped gradient beside the plain one."""
    path = orthogonal_rnn(scale, 0.5, STEPS)
    _, _, g = loss_of(path)
    by = {name: clip(g, {name: LIMITS[name]}).gradients for name in ("norm", "tensor", "value")}
    by["step"] = loss_of(Trajectory(clipped(path.cell, LIMITS["step"]), path.params, path.xs))[2]
    beside = {name: separation(flat(d), flat(g)) for name, d in by.items()}
    return {f"{k}.{name}": getattr(s, name) for k, s in beside.items() for name in ("ratio", "cosine")}
