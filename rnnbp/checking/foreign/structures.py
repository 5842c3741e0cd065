"""What functions return, taken apart: numbers, arrays and tuples of any library; gradients by name or in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnbp.backends import Backend, backend_of
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray

Values = tuple[HostArray, ...]  # the outputs on the host, one array each


def host(x: Any, what: str) -> HostArray:
    """A number or an array of any backend, on the host."""
    owner = backend_of(x)
    if owner is not None and is_array(x):
        return owner.to_numpy(x)
    if isinstance(x, (float, int, complex)):
        return np.asarray(x)
    raise UserError(f"{what} must be a number or an array; got {described(x)}")


def hosts(value: Any) -> Values:
    """A value, or the tuple of them, on the host."""
    several = value if isinstance(value, (tuple, list)) else (value,)
    if not several:
        raise UserError("the value must be a number, an array or a tuple of them; got an empty tuple")
    return tuple(host(v, "the value") for v in several)


def like(value: Any, cotangents: Values, home: Backend) -> Any:
    """Cotangents of their own in the structure, dtype and library of the value."""
    if isinstance(value, (tuple, list)):
        several = [like(v, (c,), home) for v, c in zip(value, cotangents, strict=True)]
        return several if isinstance(value, list) else tuple(several)
    if isinstance(value, float):
        return float(cotangents[0])
    owner = backend_of(value)
    assert owner is not None
    return (home if isinstance(home, type(owner)) else owner).asarray(np.array(cotangents[0]), str(cotangents[0].dtype))


def by_name(found: Any, names: Sequence[str], wanted: Sequence[str]) -> dict[str, Array | None]:
    """The gradients that a backward returned, of the inputs wanted, in whichever structure they came."""
    if isinstance(found, Mapping):
        if strangers := [str(key) for key in found if key not in names]:
            raise UserError(f"backward returned a gradient of {', '.join(strangers)}; the inputs are {_list(names)}")
        return {name: found.get(name) for name in wanted}
    if isinstance(found, (tuple, list)):
        for order in (names, wanted):
            if len(found) == len(order):
                gradients = dict(zip(order, found, strict=True))
                return {name: gradients[name] for name in wanted}
        raise UserError(f"backward returned {len(found)} gradients; the inputs are {len(names)}: {_list(names)}")
    if len(wanted) == 1 and is_array(found):
        return {wanted[0]: found}
    raise UserError(
        f"backward must return gradients by name, or a sequence in the order of the inputs {_list(names)}; "
        f"got {described(found)}"
    )


def is_array(x: Any) -> bool:
    """Whether it has a shape and a dtype; a float of Python counts as one."""
    return hasattr(x, "shape") and hasattr(x, "dtype") or isinstance(x, float)


def described(x: Any) -> str:
    """What came, in a few words for a message."""
    if isinstance(x, (tuple, list)):
        return f"a {type(x).__name__} of {len(x)}"
    if is_array(x) and not isinstance(x, float):
        return f"one array of shape {tuple(x.shape)}"
    return f"{type(x).__name__} {x!r}" if isinstance(x, (str, int, float, type(None))) else type(x).__name__


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
