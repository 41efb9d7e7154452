"""A fingerprint of a base network: which weights a posterior belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bayespeft.errors import CheckpointError

SAMPLES = 1024


def digest(tensor: Tensor, whole: bool = False, dtype: torch.dtype | None = None) -> str:
    """Hash shape, dtype and at most 1024 values spread over the whole tensor, or all: cheap for billions of parameters.

    Args:
        tensor: any.
        whole: all values.
        dtype: hash it as it would be if it were cast to this.
    """
    flat = tensor.detach().reshape(-1)
    stride = 1 if whole else max(1, -(-flat.numel() // SAMPLES))
    sample = flat[::stride].to(dtype or tensor.dtype).cpu().contiguous()
    found = hashlib.sha256(f"{tuple(tensor.shape)} {sample.dtype}".encode())
    if sample.numel():
        found.update(sample.view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def fingerprint(model: nn.Module, exclude: Iterable[str] = (), whole: bool = False) -> dict[str, str]:
    """Return dtype and a short hash of each parameter and buffer of the network, by name, as "float32 0123456789abcdef".

    Args:
        model: the network.
        exclude: modules to leave out: a freshly made head differs between constructions, and is saved whole.
        whole: every number counts; about a second for each gigabyte of weights.
    """
    prefixes = tuple(f"{name}." for name in exclude)
    return {
        name: _entry(tensor, whole, tensor.dtype)
        for name, tensor in model.state_dict().items()
        if not name.startswith(prefixes or ("\0",))
    }


def _entry(tensor: Tensor, whole: bool, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {digest(tensor, whole, dtype)}"


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
        if saved[name] != _entry(tensors[name], False, there):
            raise CheckpointError(
                f"'{name}' has other values or shape than in the network that the posterior was fitted on, also when both are "
                f"rounded to {there}; load the same base."
            )


def _dtype(entry: str) -> torch.dtype | None:
    dtype = getattr(torch, str(entry).partition(" ")[0], None)
    return dtype if isinstance(dtype, torch.dtype) else None
