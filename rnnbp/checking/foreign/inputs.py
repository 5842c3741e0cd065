"""The inputs of a function to be checked: which have a derivative, what they are called, whose arrays they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device

from rnnbp.backends import Backend, backend_for, backend_of
from rnnbp.backends import backend as find_backend
from rnnbp.checking.methods.tolerances import DTYPES
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array, HostArray, one_namespace


@dataclass(frozen=True)
class Inputs:
    """Inputs by name, in the order of the call; `point` and `dtypes` name those that have a derivative."""

    given: Mapping[str, Any]
    point: Mapping[str, HostArray]  # float64, read-only
    dtypes: Mapping[str, str]
    keyword: bool  # a mapping came: fn is called with keyword arguments

    @property
    def constants(self) -> tuple[str, ...]:
        """The inputs without a derivative: integers, and what is no array."""
        return tuple(name for name in self.given if name not in self.point)


def take(
    fn: Callable[..., Any], inputs: Any, names: Sequence[str] | None, asked: Backend | str | None
) -> tuple[Inputs, Backend]:
    """The inputs with their names, and the backend that makes arrays like them."""
    named = {name: _floating(value) for name, value in _named(fn, inputs, names).items()}
    real = {name: x for name, x in named.items() if _has_derivative(name, x)}
    if not real:
        raise UserError(f"a gradient check needs an input of a floating dtype; got {', '.join(named) or 'no input'}")
    home = _home(real, asked)
    real = {name: x if isinstance(home, type(backend_of(x))) else home.asarray(x) for name, x in real.items()}
    point = {name: _held(name, home.to_numpy(x)) for name, x in real.items()}
    dtypes = {name: _dtype(x) for name, x in real.items()}
    return Inputs(named | real, point, dtypes, isinstance(inputs, Mapping)), home


def _named(fn: Callable[..., Any], inputs: Any, names: Sequence[str] | None) -> dict[str, Any]:
    if isinstance(inputs, Mapping):
        if names is not None:
            raise UserError("names are for a sequence of inputs; a mapping has its own: leave names out")
        return {str(name): value for name, value in inputs.items()}
    several = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    called = list(_parameters(fn, len(several)) if names is None else names)
    if not all(isinstance(name, str) for name in called):
        raise UserError(f"names must be strings, one for each input; got {called}")
    if len(set(called)) != len(several):
        raise UserError(f"names must be one for each of the {len(several)} inputs, all different; got {called}")
    return dict(zip(called, several, strict=True))


def _parameters(fn: Callable[..., Any], count: int) -> list[str]:
    """What the function itself calls its first arguments."""
    fallback = [f"input{k}" for k in range(count)]
    try:
        parameters = list(inspect.signature(fn).parameters.values())[:count]
    except ValueError:  # a builtin that does not say
        return fallback
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return plain if len(plain) == count else fallback


def _floating(x: Any) -> Any:
    """Python's floats and lists as arrays; everything else as it is."""
    if not isinstance(x, (float, list)):
        return x
    try:
        return np.asarray(x)
    except ValueError as error:
        raise UserError(f"an input is a list that makes no array ({error}): give arrays") from None


def _has_derivative(name: str, x: Any) -> bool:
    if not (hasattr(x, "dtype") and hasattr(x, "shape")) or backend_of(x) is None:
        return False
    dtype = _dtype(x)
    if dtype.startswith("complex"):
        raise UserError(f"inputs must be real; {name} is {dtype}: pass its real and imaginary part as two inputs")
    if "float" in dtype and dtype not in DTYPES:
        raise unknown(f"dtype of input {name}", dtype, DTYPES)
    return dtype in DTYPES and 0 not in tuple(x.shape)


def _home(real: Mapping[str, Array], asked: Backend | str | None) -> Backend:
    """The backend that was asked for, to which host arrays are taken; else the one that the arrays share."""
    if asked is not None:
        chosen = asked if isinstance(asked, Backend) else find_backend(asked)
        for x in real.values():
            if not isinstance(x, (np.ndarray, np.generic)):
                backend_for(x, chosen)
        return chosen
    one_namespace(**real)
    first = next(iter(real.values()))
    owner = backend_of(first)
    assert owner is not None
    place = _place(first)
    return find_backend(owner.name, place if place in owner.devices() else None)


def _place(x: Array) -> str:
    """The name that a backend gives to the device of an array."""
    where = device(x)
    if hasattr(where, "platform"):
        return f"{where.platform}:{where.id}"
    return f"cuda:{where.id}" if hasattr(where, "id") else str(where)


def _held(name: str, value: HostArray) -> HostArray:
    if not np.isfinite(value).all():
        index = tuple(int(k) for k in np.argwhere(~np.isfinite(value))[0])
        raise UserError(f"inputs must be finite; {name}{list(index)} is {value[index]}")
    held = np.array(value, dtype=np.float64)
    held.flags.writeable = False
    return held


def _dtype(x: Array) -> str:
    return str(x.dtype).rpartition(".")[2]
