"""The peers by name: what else can compute a cell, on which library's arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rnnbp.backends import Backend, backend
from rnnbp.benching import jax_peer, torch_peer
from rnnbp.benching.contenders import Contender
from rnnbp.benching.plans import is_gpu, on_gpu
from rnnbp.benching.problems import Problem
from rnnbp.errors import UserError


class Peer(NamedTuple):
    """One who can be timed against us; its library is imported when one is made."""

    library: str  # the backend with its arrays and its clock
    lacks: Callable[[Any], str]  # why it has nothing like a cell; "" where it has
    make: Callable[[Problem, Backend], Contender]


def torch_loop(problem: Problem, on: Backend) -> Contender:
    """A torch.nn.Module that loops in Python."""
    from rnnbp.benching import torch_loop

    return torch_loop.torch_loop(problem, on)


PEERS = {
    "torch": Peer("torch", torch_peer.lacks, torch_peer.torch_peer),
    "torch-loop": Peer("torch", lambda _: "", torch_loop),
    "jax": Peer("jax", jax_peer.lacks, jax_peer.jax_peer),
}


def device_beside(ours: Backend, library: str) -> Backend:
    """A peer's library on the kind of device that a backend computes on: a GPU is compared with a GPU."""
    gpu, devices = on_gpu(ours), backend(library).devices()
    number = (ours.device or ours.devices()[0]).partition(":")[2] if gpu else ""
    for device in devices:
        if is_gpu(device) == gpu and device.partition(":")[2] in ("", number or "0"):
            return backend(library, device)
    kind = "a GPU" if gpu else "the CPU"
    raise UserError(f"backend {ours.name} is on {kind} and the peer cannot follow: {library} has {', '.join(devices)}")


@contextmanager
def like_with_like(threads: int | None) -> Iterator[None]:
    """For a while torch takes as many threads as the others, and full float32 products (no TF32), as they do."""
    import torch

    cudnn, before = torch.backends.cudnn, (torch.get_num_threads(), torch.backends.cudnn.allow_tf32)
    torch.set_num_threads(threads or before[0])
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.allow_tf32 = before[1]
