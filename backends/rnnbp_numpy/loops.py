"""The loops over time that a generated module ends with: one shard of the batch, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from rnnbp.fastpath import Layout

ROWS = 128  # of x that are multiplied by W at once, where there are as many: W is read that often
FORWARD = Template('''@njit([types.void($types)], cache=True, **FAST)
def forward(lo, hi, xs, inputs, kept, bias, panels, gather, context, mask, resets, masked, resetting, ys, $arrays):
    """Every step for rows lo to hi: the states after step t lie in row t + 1 of theirs, or in turn in two."""
    T, H, I, count = xs.shape[0], ${first}_all.shape[2], xs.shape[2], hi - lo
    wide, apart = inputs.shape[0] * inputs.shape[2], panels.shape[0] * panels.shape[2]
    ahead = min(T, max(1, $rows // count))
    x_rows, input_of_row = np.empty((ahead * count, I), F), np.empty((ahead * count, wide), F)
    product_of_row = np.empty((count, apart), F)
    for step in range(T):
        if step % ahead == 0:
            steps = min(ahead, T - step)
            for k in range(steps):
                for row in range(lo, hi):
                    for column in range(I):
                        x_rows[k * count + row - lo, column] = xs[step + k, row, column]
            product(steps * count, x_rows.ctypes.data, I, inputs, input_of_row)
$nows        of = step % context.shape[0]
        if gather:
            for row in range(lo, hi):
                fresh = resetting and resets[step, row]
$sources                for unit in range(H):
$gathers        if apart:
            product(count, context[of, lo].ctypes.data, context.shape[2], panels, product_of_row)
        for row in range(lo, hi):
            fresh = resetting and resets[step, row]
$enters            if masked and not mask[step, row]:
                for unit in range(H):
                    ys[step, row, unit] = F(0)
$skips                continue
            ax, ah = input_of_row[step % ahead * count + row - lo], product_of_row[row - lo]
            forward_row(H, ax, ah, bias, kept[step % kept.shape[0], row], $row)
            if masked:
                for unit in range(H):
                    ys[step, row, unit] = ${first}_all[then_$first, row, unit]''')

BACKWARD = Template('''@njit([types.void($types)], cache=True, **FAST)
def backward(lo, hi, start, at, stop, decay, kept, panels, mask, resets, masked, resetting, dys, zero, dz, $arrays):
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
            backward_row(H, kept[step, row], $row)
        if panels.shape[0]:
            product(hi - lo, dz[step - start, lo, first:].ctypes.data, width, panels, back)
            for row in range(lo, hi):
                for unit in range(H):
$adds
        if decay != F(1):
            for row in range(lo, hi):
                for unit in range(H if not masked or mask[step, row] else 0):
$fades        if resetting:
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
        drop = {n: f" * {m}_given[step, row, unit]" for n, m in cell.dropped.items()}
        made = [line.format(n=n, k=k, drop=drop.get(n, "")) for k, n in enumerate(names)] or ["pass"]
        return "".join(f"{' ' * indent}{text}\n" for text in made)

    forward = FORWARD.substitute(
        types=", ".join(
            ["types.intp, types.intp, GIVEN[3], GIVEN[3], MADE[3], GIVEN[1], GIVEN[3], types.boolean, MADE[3]"]
            + [flags, "MADE[3]", *floats]
        ),
        rows=ROWS,
        arrays=", ".join(arrays),
        first=states[0],
        nows=each(8, "now_{n}, then_{n} = step % {n}_all.shape[0], (step + 1) % {n}_all.shape[0]"),
        sources=each(16, "{n}_row = {n}_fresh[row] if fresh else {n}_all[now_{n}, row]", cell.recurrent),
        gathers=each(20, "context[of, row, {k} * H + unit] = {n}_row[unit]{drop}", cell.recurrent),
        enters=each(12, "{n}_row = {n}_fresh[row] if fresh else {n}_all[now_{n}, row]"),
        skips=each(20, "{n}_all[then_{n}, row, unit] = {n}_row[unit]"),
        row=", ".join([*rows, *(f"{n}_all[then_{n}, row]" for n in states)]),
    )
    backward = BACKWARD.substitute(
        types=", ".join(
            ["types.intp, types.intp, types.intp, types.intp, types.intp, FLOAT, GIVEN[3], GIVEN[3]", flags]
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
        adds=each(20, "{n}_error[row, unit] += back[row - lo, {k} * H + unit]{drop}", cell.recurrent).rstrip(),
        fades=each(20, "{n}_error[row, unit] *= decay"),
        clears=each(20, "{n}_error[row, unit] = F(0)").rstrip(),
    )
    return forward, backward
