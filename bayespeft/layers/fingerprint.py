"""A fingerprint of a base network: which weights a posterior belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from bayespeft.errors import CheckpointError

# So many numbers of a tensor are on their way from a device, or cast, at once.
CHUNK = 1 << 24
# hashlib lets other threads run meanwhile; more of them than this wait for memory.
MOST_THREADS = 8


def digest(tensor: Tensor, dtype: torch.dtype | None = None) -> str:
    """Hash shape, dtype and every value of a tensor: a second or less for each gigabyte.

    Args:
        tensor: any.
        dtype: hash it as it would be if it were cast to this.
    """
    dtype = dtype or tensor.dtype
    found = hashlib.sha256(f"{tuple(tensor.shape)} {dtype}".encode())
    flat = tensor.detach().reshape(-1)
    for begin in range(0, flat.numel(), CHUNK):
        part = flat[begin : begin + CHUNK].to(dtype).cpu().contiguous()
        found.update(part.view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def fingerprint(model: nn.Module, exclude: Iterable[str] = ()) -> dict[str, str]:
    """Return dtype and hash of all values of each parameter and buffer of the network, by name: "float32 0123456789abcdef".

    Args:
        model: the network.
        exclude: modules to leave out: a freshly made head differs between constructions, and is saved whole.
    """
    prefixes = tuple(f"{name}." for name in exclude)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(prefixes or ("\0",))}
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        return dict(zip(tensors, threads.map(_entry, tensors.values()), strict=True))


def _entry(tensor: Tensor, dtype: torch.dtype | None = None) -> str:
    dtype = dtype or tensor.dtype
    return f"{str(dtype).removeprefix('torch.')} {digest(tensor, dtype)}"


def check_fingerprint(saved: dict[str, str], model: nn.Module, exclude: Iterable[str] = ()) -> None:
    """Check that a network has the weights that a posterior was fitted on, which may be stored in a higher precision.

    Raises:
        CheckpointError: the message names the first tensor that is missing, unexpected or different.
    """
    found = fingerprint(model, exclude)
    tensors = model.state_dict()
    for name in {**saved, **found}:
        if name not in found:
            raise CheckpointError(f"the saved posterior belongs to a network with '{name}', which this one lacks.")
        if name not in saved:
            raise CheckpointError(f"this network has '{name}', which the one that the posterior was fitted on lacked.")
        if saved[name] == found[name]:
            continue
        here, there = tensors[name].dtype, _dtype(saved[name])
        if there is None or not (here.is_floating_point and there.is_floating_point) or here == there:
            raise CheckpointError(
                f"'{name}' has other values or shape than in the network that the posterior was fitted on; load the same base."
            )
        if here.itemsize <= there.itemsize:
            raise CheckpointError(
                f"the posterior was fitted on '{name}' in {there}, and here it is {here}, which has lost some of it; load the "
                f"base with dtype={there}."
            )
        if saved[name] != _entry(tensors[name], there):
            raise CheckpointError(
                f"'{name}' has other values or shape than in the network that the posterior was fitted on, also when both are "
                f"rounded to {there}; load the same base."
            )


def _dtype(entry: str) -> torch.dtype | None:
    dtype = getattr(torch, str(entry).partition(" ")[0], None)
    return dtype if isinstance(dtype, torch.dtype) else None
