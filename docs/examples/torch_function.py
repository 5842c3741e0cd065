"""A `torch.autograd.Function` with a backward by hand: the pointwise part of an LSTM, with two outputs.

    python docs/examples/torch_function.py

Seen: both gradients to 1e-16, for the complex step goes through torch's own operations. Then the same with the slope of
the output gate left out: the error is in `a` only, and the report names the entry where it is worst.
"""

from __future__ import annotations

import torch

import rnnbp


class Pointwise(torch.autograd.Function):
    """a (B, 4H) in the order i, f, o, g and c (B, H) -> h and the next c."""

    slope = staticmethod(lambda o: o * (1 - o))

    @staticmethod
    def forward(ctx, a, c):
        i, f, o, g = a.chunk(4, dim=1)
        i, f, o, g = i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()
        new = f * c + i * g
        ctx.save_for_backward(c, i, f, o, g, new.tanh())
        return o * new.tanh(), new

    @classmethod
    def backward(cls, ctx, dh, dnew):
        c, i, f, o, g, tanh_new = ctx.saved_tensors
        dnew = dnew + dh * o * (1 - tanh_new**2)
        do = dh * tanh_new * cls.slope(o)
        da = torch.cat([dnew * g * i * (1 - i), dnew * c * f * (1 - f), do, dnew * i * (1 - g**2)], dim=1)
        return da, dnew * f


class Slopeless(Pointwise):
    """The same without σ' of the output gate."""

    slope = staticmethod(torch.ones_like)


def function(kind):
    """What a check takes: the values, and a backward that asks torch for the gradients of the inputs."""

    def fn(a, c):
        a.requires_grad_(), c.requires_grad_()
        outputs = kind.apply(a, c)
        return outputs, lambda cotangents: torch.autograd.grad(outputs, (a, c), cotangents)

    return fn


def check():
    """The reports on the right function and on the one without the slope."""
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((3, 24), (3, 6))]
    return [rnnbp.gradcheck(function(kind), inputs, name=kind.__name__) for kind in (Pointwise, Slopeless)]


if __name__ == "__main__":
    print(*check(), sep="\n\n")
