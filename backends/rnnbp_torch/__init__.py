"""PyTorch, on the CPU or a CUDA device, as a plain array library: no graph is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbp.backends import Backend, installed_version
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.scanning import reference

if TYPE_CHECKING:
    from rnnbp_torch.module import Module as Module


class TorchBackend(Backend):
    """torch tensors. Scans run without a graph, even where a tensor asks for its gradient."""

    name = "torch"
    decays = True
    recomputes = True

    @classmethod
    def available(cls) -> str | None:
        return None if cls.version() else "PyTorch is not installed: pip install torch (or rnnbp[torch])"

    @classmethod
    def version(cls) -> str | None:
        return installed_version("torch")

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        if cls.version() is None:
            return ()
        import torch

        return ("cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count())))

    def _namespace(self) -> Namespace:
        import array_api_compat.torch

        return array_api_compat.torch

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        self.require_dtype(dtype)
        import torch

        source = x if isinstance(x, torch.Tensor) else torch.from_numpy(np.array(x))  # a copy: torch needs to own it
        return source.to(device=self.device or "cpu", dtype=getattr(torch, dtype) if dtype else None)

    def to_numpy(self, x: Array) -> HostArray:
        found: HostArray = x.detach().cpu().resolve_conj().numpy()
        return found

    def synchronize(self) -> None:
        if self.device and self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], Any]) -> float:
        if not (self.device and self.device.startswith("cuda")):
            return super().seconds(call)
        import torch

        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.synchronize()
        begin.record()
        call()
        end.record()
        self.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    def peak_bytes(self, call: Callable[[], Any]) -> int | None:
        if not (self.device and self.device.startswith("cuda")):
            return None
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)
        level = torch.cuda.memory_allocated(self.device)
        call()
        self.synchronize()
        return int(torch.cuda.max_memory_allocated(self.device) - level)

    def scan(self, cell: Any, params: Any, xs: Array, s0: Any, **options: Any) -> Any:
        """The portable scan with torch's graph switched off, forward and backward."""
        import torch

        with torch.no_grad():
            ys, s, backward = reference(self.xp, cell, params, xs, s0, **options)
        last = tuple(z.detach() for z in s)  # a cell may hand on a state that asks for its gradient
        return ys, last, torch.no_grad()(backward)  # keeps the attributes of `backward`, its record among them


def __getattr__(name: str) -> Any:
    """`Module` is made at its first use, since it needs torch."""
    if name != "Module":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rnnbp_torch.module import Module

    return Module
