"""One scan as an operation of torch's autograd."""

from __future__ import annotations

from typing import Any
from weakref import finalize

import torch

from rnnbp.errors import UserError
from rnnbp.numerics import Array
from rnnbp_torch.calling import Call


class Scan(torch.autograd.Function):  # type: ignore[misc]
    """(call, *tensors) -> ys, *last states.

    The backward by hand lives as long as torch keeps what was saved here, and no longer: `token` tells when that goes.
    Where torch lets go of it before the backward, as in its checkpointing, the scan runs once more.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Array) -> tuple[Array, ...]:
        ys, last, back = call.scan(tensors)
        ctx.set_materialize_grads(False)  # None stands for zero here, too
        ctx.call, ctx.back = call, [back]
        token = torch.empty(0)
        finalize(token, ctx.back.clear).atexit = False
        ctx.save_for_backward(*tensors, ys, token)  # ys, because the backward may read its memory
        return (ys, *last)

    @staticmethod
    def backward(ctx: Any, dys: Array | None, *dlast: Array | None) -> tuple[Array | None, ...]:
        saved = ctx.saved_tensors  # torch refuses here what was freed, or written to
        tensors = saved[:-2]
        back = ctx.back[0] if ctx.back else ctx.call.scan(tensors)[2]
        with torch.no_grad():
            found = ctx.call.gradients(back, dys, dlast)
        if torch.is_grad_enabled():  # torch was asked for create_graph
            found = Final.apply(len(found), *found, *tensors, dys, *dlast)
        return (None, *(d if asked else None for d, asked in zip(found, ctx.needs_input_grad[1:], strict=True)))


class Final(torch.autograd.Function):  # type: ignore[misc]
    """(count, *gradients, *all that they were made of) -> the gradients, whose own derivatives nobody derived."""

    @staticmethod
    def forward(ctx: Any, count: int, *given: Array | None) -> tuple[Array, ...]:
        del ctx
        return given[:count]

    @staticmethod
    def backward(ctx: Any, *errors: Array) -> Any:
        del ctx, errors
        raise UserError(
            "gradients through an rnnbp_torch.Module have no second derivative; torch was asked for one: "
            "rnnbp.hvp gives products with the Hessian"
        )
