"""CUDA C as the language of generated statements, and the number types that a kernel computes with and stores."""

from __future__ import annotations

import math
import re

from rnnbp.lowering import FORMS, FUNCTIONS, Language, Node, Untraceable

REAL = {
    "float16": "float32",
    "bfloat16": "float32",
    "float32": "float32",
    "float64": "float64",
}  # storage -> arithmetic
_C = {"float32": "float", "float64": "double"}

_FORMS = FORMS | {"where": "({0}) ? ({1}) : ({2})", "detach": "{0}"}
_FORMS |= {"logical_and": "({0}) && ({1})", "logical_or": "({0}) || ({1})", "logical_not": "!({0})"}
_KNOWN = {*_FORMS, *FUNCTIONS, "minimum", "maximum", "pow", "input", "constant"}
RESERVED = frozenset(
    """alignas alignof and asm auto bitand bitor bool break case catch char class compl const constexpr continue
    decltype default delete do double else enum explicit export extern false float for friend goto if inline int long
    mutable namespace new noexcept not nullptr operator or private protected public register return short signed sizeof
    static struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile
    while xor real storage load store minimum maximum pow tanh exp expm1 log log1p sqrt blockIdx blockDim threadIdx
    at size row unit flag on fresh over gates fed wide xW hU bias ys mask resets context extra dz dys hU_back keep
    B H step slot enter leave next later given""".split()
)

_IDENTITY = """\
using storage = real;
__device__ inline real load(storage x) { return x; }
__device__ inline storage store(real x) { return x; }
"""
_BFLOAT16 = """\
struct storage { unsigned short bits; };  // bfloat16: the upper half of a float
__device__ inline real load(storage x) { return __int_as_float((int)x.bits << 16); }
__device__ inline storage store(real x) {  // to nearest, ties to even; NaN stays NaN
    const unsigned bits = (unsigned)__float_as_int(x);
    return storage{(unsigned short)(x != x ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
"""
_FLOAT16 = """\
#ifndef HALF_TO_FLOAT
#define HALF_TO_FLOAT(bits, x) asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits))
#define FLOAT_TO_HALF(x, bits) asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x))
#endif
struct storage { unsigned short bits; };  // float16
__device__ inline real load(storage x) { real y; HALF_TO_FLOAT(x.bits, y); return y; }
__device__ inline storage store(real x) { storage y; FLOAT_TO_HALF(x, y.bits); return y; }
"""
_EXTREMES = """\
__device__ inline real minimum(real a, real b) { return a < b || a != a ? a : b; }  // NaN wins, as in arrays
__device__ inline real maximum(real a, real b) { return a > b || a != a ? a : b; }
"""


def prelude(dtype: str) -> str:
    """The types `real`, of all arithmetic, and `storage`, of large arrays, and what takes one to the other."""
    storage = {"bfloat16": _BFLOAT16, "float16": _FLOAT16}.get(dtype, _IDENTITY)
    return f"using real = {_C[REAL[dtype]]};\n{storage}{_EXTREMES}"


def _constant(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if math.isfinite(value):
        return f"real({value!r})"
    bits = 0x7FC00000 if math.isnan(value) else 0x7F800000
    return f"real({'-' if value < 0 else ''}__int_as_float(0x{bits:08x}))"


# conditions, too, are kept as numbers, 0 or 1
LANGUAGE = Language(_constant, _FORMS, "const real {name} = {value};", RESERVED)


def require_known(nodes: list[Node]) -> None:
    """Every operation can be written in CUDA C."""
    for node in nodes:
        if node.op not in _KNOWN:
            raise Untraceable(f"its operation {node.op} has no form in CUDA C")


class Names:
    """Identifiers of one kernel: like the names that they are asked for, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set(RESERVED)

    def __call__(self, wanted: str) -> str:
        name = re.sub(r"\W", "_", wanted.replace("'", "1"), flags=re.ASCII)
        name = f"_{name}" if name[:1].isdigit() else name
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
