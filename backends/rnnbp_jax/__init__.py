"""JAX, evaluated eagerly, with 64-bit numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbp.backends import Backend, installed_version
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace

if TYPE_CHECKING:
    from rnnbp_jax.function import custom_vjp as custom_vjp


class JaxBackend(Backend):
    """jax arrays. 64-bit numbers are switched on here; where $JAX_ENABLE_X64 says no they are refused, not narrowed."""

    name = "jax"

    @classmethod
    def available(cls) -> str | None:
        return None if cls.version() else "JAX is not installed: pip install jax (or rnnbp[jax])"

    @classmethod
    def version(cls) -> str | None:
        return installed_version("jax")

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        if cls.version() is None:
            return ()
        import jax

        return tuple(f"{d.platform}:{d.id}" for d in jax.devices())

    def _namespace(self) -> Namespace:
        import jax

        if os.environ.get("JAX_ENABLE_X64", "1").lower() not in ("0", "false", "no", "off"):
            jax.config.update("jax_enable_x64", True)
        return jax.numpy

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        import jax

        self.require_dtype(dtype)
        host = np.asarray(x, dtype=dtype)
        refuse_narrowing(host)
        chosen = [d for d in jax.devices() if f"{d.platform}:{d.id}" == self.device]
        return jax.device_put(jax.numpy.asarray(host), chosen[0] if chosen else None)

    def to_numpy(self, x: Array) -> HostArray:
        return np.asarray(x)

    def peak_bytes(self, call: Callable[[], Any]) -> int | None:
        import jax

        (device,) = [d for d in jax.devices() if self.device in (None, f"{d.platform}:{d.id}")][:1]
        before = device.memory_stats()  # None on a CPU; the peak is that of the whole process
        if before is None:
            return None
        call()
        self.synchronize()
        return int(device.memory_stats()["peak_bytes_in_use"] - before["bytes_in_use"])

    def synchronize(self) -> None:
        import jax

        jax.effects_barrier()
        jax.block_until_ready(jax.device_put(0.0) + 0)  # one device runs its work in order


def refuse_narrowing(*arrays: HostArray) -> None:
    """What JAX would narrow in silence, since 64-bit numbers are switched off, is a UserError."""
    import jax

    found = next(filter(_narrowed, arrays), None)
    if found is not None and not jax.config.jax_enable_x64:
        raise UserError(
            f"backend jax has 64-bit numbers switched off and would narrow {found.dtype} in silence: "
            "unset JAX_ENABLE_X64, or use dtype float32"
        )


def _narrowed(host: HostArray) -> bool:
    """Whether numbers would be lost if 64 bits became 32; integers that fit are the same in both."""
    shorter = {"int64": "int32", "uint64": "uint32"}.get(host.dtype.name)
    if shorter:
        return not np.array_equal(host, host.astype(shorter))
    return host.dtype.name in ("float64", "complex128")


def __getattr__(name: str) -> Any:
    """`custom_vjp` is made at its first use, since it needs JAX."""
    if name != "custom_vjp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rnnbp_jax.function import custom_vjp

    return custom_vjp
