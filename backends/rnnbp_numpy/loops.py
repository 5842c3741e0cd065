"""The loops over time that a generated module ends with: one shard of the batch, forward and backward."""

from __future__ import annotations

from string import Template

from rnnbp.fastpath import Layout

FORWARD = Template('''@njit([types.void($types)], cache=True, **FAST)
def forward(lo, hi, ax, extra, bias, panels, gather, context, mask, resets, masked, resetting, ys, $arrays):
    """Every step for rows lo to hi: the states after step t lie in row t + 1 of theirs, or in turn in two."""
    H, apart = $first.shape[2], panels.shape[0] * panels.shape[2]
    product_of_row = np.empty((hi - lo, apart), F)
    for step in range(ax.shape[0]):
$nows        of = step % context.shape[0]
        if gather:
            for row in range(lo, hi):
                fresh = resetting and resets[step, row]
$gathers        if apart:
            product(hi - lo, context[of, lo].ctypes.data, context.shape[2], panels, product_of_row)
        for row in range(lo, hi):
            fresh = resetting and resets[step, row]
$enters            if masked and not mask[step, row]:
                ys[step, row] = F(0)
$skips                continue
            forward_row(H, ax[step, row], product_of_row[row - lo], bias, extra[step % extra.shape[0], row], $row)
            if masked:
                ys[step, row] = $first[then_$first, row]''')

BACKWARD = Template('''@njit([types.void($types)], cache=True, **FAST)
def backward(lo, hi, start, at, stop, ax, extra, panels, mask, resets, masked, resetting, dys, zero, dz, $arrays):
    """Steps stop − 1 down to start for rows lo to hi, with errors of outputs from step `at` on."""
    H, width = $first.shape[2], dz.shape[2]
    back, first = np.empty((hi - lo, panels.shape[0] * panels.shape[2]), F), width - $gates * H
    for step in range(stop - 1, start - 1, -1):
        for row in range(lo, hi):
            if masked and not mask[step, row]:
                dz[step - start, row] = F(0)
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
                if resets[step, row]:
$clears''')


def loops(plan: Layout) -> tuple[str, str]:
    """Both, with the cell's states, parameters and data by name."""
    cell = plan.cell
    states, params, data = list(cell.states), list(cell.elementwise), list(cell.data)
    enter = "            {0}_row = {0}_fresh[row] if fresh else {0}[{1}, row]\n"
    rows = [f"{n}_row" for n in states] + params + [f"{n}[step, row]" for n in data]
    first, n_states = states[0], len(states)
    arrays = [*(f"{n}_fresh, {n}" for n in states), *params, *data]
    floats = ["MADE[2], MADE[3]"] * n_states + ["GIVEN[1]"] * len(params) + ["GIVEN[3]"] * len(data)
    ahead = "types.intp, types.intp, MADE[3], MADE[3], GIVEN[1], GIVEN[3], types.boolean, MADE[3], FLAGS, FLAGS"
    gather = " " * 16 + "context[of, row, {k} * H : ({k} + 1) * H] = {n}_fresh[row] if fresh else {n}[now_{n}, row]\n"
    forward = FORWARD.substitute(
        types=", ".join([ahead, "types.boolean", "types.boolean", "MADE[3]", *floats]),
        arrays=", ".join(arrays),
        first=first,
        nows="".join(f"        now_{n}, then_{n} = step % {n}.shape[0], (step + 1) % {n}.shape[0]\n" for n in states),
        gathers="".join(gather.format(k=k, n=n) for k, n in enumerate(cell.recurrent)) or " " * 16 + "pass\n",
        enters="".join(enter.format(n, f"now_{n}") for n in states),
        skips="".join(f"                {n}[then_{n}, row] = {n}_row\n" for n in states),
        row=", ".join([*rows, *(f"{n}[then_{n}, row]" for n in states)]),
    )
    errors = [f"d{n}[row]" for n in states] + [f"d{n}_sum[row]" for n in params]
    ahead = "types.intp, types.intp, types.intp, types.intp, types.intp, MADE[3], MADE[3], GIVEN[3], FLAGS, FLAGS"
    add = " " * 20 + "d{n}[row, unit] += back[row - lo, {k} * H + unit]"
    backward = BACKWARD.substitute(
        types=", ".join(
            [ahead, "types.boolean", "types.boolean", "GIVEN[3]", "GIVEN[1]", "MADE[3]", *floats]
            + ["MADE[2]"] * (n_states + len(params))
        ),
        arrays=", ".join([*arrays, *(f"d{n}" for n in states), *(f"d{n}_sum" for n in params)]),
        first=first,
        gates=len(plan.gates),
        enters="".join(enter.format(n, "step") for n in states),
        row=", ".join([*rows, *(f"{n}[step + 1, row]" for n in states), "dy", "dz[step - start, row]", *errors]),
        adds="\n".join(add.format(n=n, k=k) for k, n in enumerate(cell.recurrent)) or " " * 20 + "pass",
        clears="\n".join(" " * 20 + f"d{n}[row] = F(0)" for n in states),
    )
    return forward, backward
