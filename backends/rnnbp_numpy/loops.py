"""The loops over time that a generated module ends with: one shard of the batch, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from rnnbp.fastpath import Layout

FORWARD = Template('''@njit([types.void($types)], cache=True, **FAST)
def forward(lo, hi, ax, extra, bias, panels, gather, context, mask, resets, masked, resetting, ys, $arrays):
    """Every step for rows lo to hi: the states after step t lie in row t + 1 of theirs, or in turn in two."""
    H, apart = ${first}_all.shape[2], panels.shape[0] * panels.shape[2]
    product_of_row = np.empty((hi - lo, apart), F)
    for step in range(ax.shape[0]):
$nows        of = step % context.shape[0]
        if gather:
            for row in range(lo, hi):
                fresh = resetting and resets[step, row]
$sources                for unit in range(H):
$gathers        if apart:
            product(hi - lo, context[of, lo].ctypes.data, context.shape[2], panels, product_of_row)
        for row in range(lo, hi):
            fresh = resetting and resets[step, row]
$enters            if masked and not mask[step, row]:
                for unit in range(H):
                    ys[step, row, unit] = F(0)
$skips                continue
            forward_row(H, ax[step, row], product_of_row[row - lo], bias, extra[step % extra.shape[0], row], $row)
            if masked:
                for unit in range(H):
                    ys[step, row, unit] = ${first}_all[then_$first, row, unit]''')

BACKWARD = Template('''@njit([types.void($types)], cache=True, **FAST)
def backward(lo, hi, start, at, stop, ax, extra, panels, mask, resets, masked, resetting, dys, zero, dz, $arrays):
    """Steps stop − 1 down to start for rows lo to hi, with errors of outputs from step `at` on."""
    H, width = ${first}_all.shape[2], dz.shape[2]
    back, first = np.empty((hi - lo, panels.shape[0] * panels.shape[2]), F), width - $gates * H
    for step in range(stop - 1, start - 1, -1):
        for row in range(lo, hi):
            if masked and not mask[step, row]:
                for column in range(width):
                    dz[step - start, row, column] = F(0)
                continue
            fresh = resetting and resets[step, row]
$enters            dy = dys[step, row] if step >= at else zero
            backward_row(H, ax[step, row], extra[step, row], $row)
        if panels.shape[0]:
            product(hi - lo, dz[step - start, lo, first:].ctypes.data, width, panels, back)
            for row in range(lo, hi):
                for unit in range(H):
$adds
        if resetting:
            for row in range(lo, hi):
                for unit in range(H if resets[step, row] else 0):
$clears''')


def loops(plan: Layout) -> tuple[str, str]:
    """Both, with the cell's states, parameters and data by name."""
    cell = plan.cell
    states, params, data = list(cell.states), list(cell.elementwise), list(cell.data)
    rows = [f"{n}_row" for n in states] + [f"{n}_given" for n in params] + [f"{n}_given[step, row]" for n in data]
    arrays = [*(f"{n}_fresh, {n}_all" for n in states), *(f"{n}_given" for n in (*params, *data))]
    floats = ["MADE[2], MADE[3]"] * len(states) + ["GIVEN[1]"] * len(params) + ["GIVEN[3]"] * len(data)
    flags = "FLAGS, FLAGS, types.boolean, types.boolean"

    def each(indent: int, line: str, names: Sequence[str] = states) -> str:
        """A line for each name, or one that does nothing."""
        made = [line.format(n=n, k=k) for k, n in enumerate(names)] or ["pass"]
        return "".join(f"{' ' * indent}{text}\n" for text in made)

    forward = FORWARD.substitute(
        types=", ".join(
            ["types.intp, types.intp, MADE[3], MADE[3], GIVEN[1], GIVEN[3], types.boolean, MADE[3]", flags, "MADE[3]"]
            + floats
        ),
        arrays=", ".join(arrays),
        first=states[0],
        nows=each(8, "now_{n}, then_{n} = step % {n}_all.shape[0], (step + 1) % {n}_all.shape[0]"),
        sources=each(16, "{n}_row = {n}_fresh[row] if fresh else {n}_all[now_{n}, row]", cell.recurrent),
        gathers=each(20, "context[of, row, {k} * H + unit] = {n}_row[unit]", cell.recurrent),
        enters=each(12, "{n}_row = {n}_fresh[row] if fresh else {n}_all[now_{n}, row]"),
        skips=each(20, "{n}_all[then_{n}, row, unit] = {n}_row[unit]"),
        row=", ".join([*rows, *(f"{n}_all[then_{n}, row]" for n in states)]),
    )
    backward = BACKWARD.substitute(
        types=", ".join(
            ["types.intp, types.intp, types.intp, types.intp, types.intp, MADE[3], MADE[3], GIVEN[3]", flags]
            + ["GIVEN[3], GIVEN[1], MADE[3]", *floats, *["MADE[2]"] * (len(states) + len(params))]
        ),
        arrays=", ".join([*arrays, *(f"{n}_error" for n in states), *(f"{n}_sum" for n in params)]),
        first=states[0],
        gates=len(plan.gates),
        enters=each(12, "{n}_row = {n}_fresh[row] if fresh else {n}_all[step, row]"),
        row=", ".join(
            [*rows, *(f"{n}_all[step + 1, row]" for n in states), "dy, dz[step - start, row]"]
            + [f"{n}_error[row]" for n in states]
            + [f"{n}_sum[row]" for n in params]
        ),
        adds=each(20, "{n}_error[row, unit] += back[row - lo, {k} * H + unit]", cell.recurrent).rstrip(),
        clears=each(20, "{n}_error[row, unit] = F(0)").rstrip(),
    )
    return forward, backward
