"""The recurrent product of a few rows, C = A·B, compiled: B is laid out once in panels and then used at every step.

A panel holds `VECTORS` registers' worth of columns of B, row by row, padded with zeros. A tile of C, a few rows by one
or more panels, stays in registers while the inner dimension is run through, with one fused multiply-add for each row
and register of a panel. Every entry of C is one sum in the order of the inner dimension whatever the tile: the result
does not depend on how rows are shared out. (After Goto & van de Geijn 2008, ACM TOMS 34:12; A, of few rows, is left as
it lies.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rnnbp.numerics import HostArray
from rnnbp_numpy.functions import compiled

_FEATURES = binding.get_host_cpu_features()
REGISTER_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
REGISTERS = 32 if _FEATURES.get("avx512f") or _FEATURES.get("neon") else 16
VECTORS = 2  # registers in a panel's row
SUMS = 3 * REGISTERS // 4  # registers for sums: the others hold a panel's row and an entry of A
ROWS = SUMS // VECTORS  # the most rows of a tile
_INDEX = ir.IntType(32)


def packed(b: HostArray) -> HostArray:
    """The panels of B (K, N): (panels, K, width), aligned, the last one padded with zeros."""
    depth, columns = b.shape
    width = VECTORS * REGISTER_BYTES // b.itemsize
    count = -(-columns // width)
    buffer = np.zeros(count * depth * width + 64 // b.itemsize, b.dtype)
    first = -buffer.ctypes.data % 64 // b.itemsize
    panels = buffer[first : first + count * depth * width].reshape(count, depth, width)
    whole = columns // width
    panels[:whole] = b[:, : whole * width].reshape(depth, whole, width).transpose(1, 0, 2)
    panels[whole:, :, : columns - whole * width] = b[:, whole * width :]
    return panels


@intrinsic
def _tile(typingctx, rows, across, like, a, lda, b, depth, c, ldc):  # type: ignore[no-untyped-def]
    """C[:rows, :across·width] = A[:rows, :depth] · so many panels at b; rows·across is at most `ROWS`.

    a, b, c are addresses; lda and ldc count numbers of the dtype of `like`. Each shape of a tile has code of its own.
    """
    del typingctx
    signature = types.void(rows, across, like, a, lda, b, depth, c, ldc)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(signature.args[2])
        after = builder.append_basic_block("after")
        count = ir.IntType(64)
        case = builder.add(builder.mul(args[0], ir.Constant(count, ROWS + 1)), args[1])
        switch = builder.switch(case, after)
        for shape in ((n, m) for n in range(1, ROWS + 1) for m in range(1, ROWS // n + 1)):
            block = builder.append_basic_block("tile{}x{}".format(*shape))
            switch.add_case(ir.Constant(count, shape[0] * (ROWS + 1) + shape[1]), block)
            builder.position_at_end(block)
            _write_tile(builder, number, shape, *args[3:])
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return signature, generate


def _write_tile(
    builder: Any, number: Any, shape: tuple[int, int], a: Any, lda: Any, b: Any, depth: Any, c: Any, ldc: Any
) -> None:
    """The instructions of `_tile`: vectors of LLVM's own, which it maps to whatever registers there are."""
    size = 8 if isinstance(number, ir.DoubleType) else 4
    count, word = REGISTER_BYTES // size, depth.type
    vector = ir.VectorType(number, count)
    rows, across = range(shape[0]), [(p, v) for p in range(shape[1]) for v in range(VECTORS)]
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{count}f{8 * size}"
    )

    def at(address: Any, kind: Any, *offsets: tuple[Any, int]) -> Any:
        """A pointer to `address` and Σ factor·number entries on."""
        total = ir.Constant(word, 0)
        for factor, times in offsets:
            total = builder.add(total, builder.mul(factor, ir.Constant(word, times)))
        return builder.inttoptr(builder.add(address, builder.mul(total, ir.Constant(word, size))), kind.as_pointer())

    def place(r: int, p: int, v: int) -> Any:
        return at(c, vector, (ldc, r), (ir.Constant(word, (p * VECTORS + v) * count), 1))

    zero, one = ir.Constant(vector, [0.0] * count), ir.Constant(word, 1)
    before, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(word)
    sums = [[builder.phi(vector) for _ in across] for _ in rows]
    panel_row = [
        builder.load(
            at(b, vector, (depth, p * VECTORS * count), (k, VECTORS * count), (ir.Constant(word, v * count), 1)),
            align=size,
        )
        for p, v in across
    ]
    totals = []
    for r in rows:
        entry = builder.insert_element(zero, builder.load(at(a, number, (lda, r), (k, 1))), ir.Constant(_INDEX, 0))
        spread = builder.shuffle_vector(entry, entry, ir.Constant(ir.VectorType(_INDEX, count), [0] * count))
        totals.append([builder.call(multiply_add, (spread, y, s)) for y, s in zip(panel_row, sums[r], strict=True)])
    following = builder.add(k, one)
    k.add_incoming(ir.Constant(word, 0), before)
    k.add_incoming(following, loop)
    for r in rows:
        for s, total in zip(sums[r], totals[r], strict=True):
            s.add_incoming(zero, before)
            s.add_incoming(total, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, depth), loop, done)
    builder.position_at_end(done)
    for r in rows:
        for (p, v), total in zip(across, totals[r], strict=True):
            builder.store(total, place(r, p, v), align=size)


@compiled
def product(rows: Any, a: Any, lda: Any, panels: Any, c: Any) -> None:
    """C (rows, panels·width) = A·B: A at the address `a`, `lda` numbers from row to row, and the panels of B."""
    count, depth, width = panels.shape
    like, size, ldc = c[0, 0], c.itemsize, c.shape[1]
    tiles = (rows + ROWS - 1) // ROWS
    most = max(1, ROWS // rows)
    spans = (count + most - 1) // most
    p = 0
    for span in range(spans):  # tiles of nearly equal width, and of nearly equal height
        across = count * (span + 1) // spans - p
        b, first = panels.ctypes.data + p * depth * width * size, 0
        for k in range(tiles):
            n = rows * (k + 1) // tiles - first
            to = c.ctypes.data + (first * ldc + p * width) * size
            _tile(n, across, like, a + first * lda * size, lda, b, depth, to, ldc)
            first += n
        p += across
