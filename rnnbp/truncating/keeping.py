"""How many bytes a backward keeps: every array that can be reached from it, each buffer once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from rnnbp.backends import Backend
from rnnbp.recording import closure


def kept_bytes(backward: Callable[..., Any], without: Iterable[Any] = ()) -> int:
    """The bytes of all arrays that closures, and what lies in them, hold on to; `without` those of other owners."""
    others = {key for a in without for key, _ in [_buffer(a)]}
    found = dict(map(_buffer, _arrays(backward)))
    return sum(size for key, size in found.items() if key not in others)


def _arrays(root: Any) -> Iterator[Any]:
    """Every array behind an object. Globals, modules, classes and backends belong to nobody's backward."""
    seen: dict[int, Any] = {}  # keeps what is made on the way, so that no id comes twice
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, Backend, str, bytes, int, float, complex)):
            continue
        seen[id(thing)] = thing
        if is_array_api_obj(thing):
            yield thing
        else:
            waiting += _inside(thing)


def _inside(thing: Any) -> list[Any]:
    if isinstance(thing, FunctionType):
        return [*closure(thing).values(), *(thing.__defaults__ or ()), *vars(thing).values()]
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    return list(getattr(thing, "__dict__", {}).values())


def _buffer(a: Any) -> tuple[Any, int]:
    """What tells an array's memory from others, and its size: views share one."""
    if hasattr(a, "untyped_storage"):  # torch
        storage = a.untyped_storage()
        return storage.data_ptr(), int(storage.nbytes())
    host = getattr(a, "_array", a)  # array-api-strict
    while isinstance(getattr(host, "base", None), type(host)):
        host = host.base
    size = getattr(host, "nbytes", None)
    return id(host), int(np.prod(a.shape)) * a.dtype.itemsize if size is None else int(size)
