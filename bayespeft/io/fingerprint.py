"""A fingerprint of a base network: which weights a posterior belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bayespeft.errors import CheckpointError

SAMPLES = 1024


def digest(tensor: Tensor, whole: bool = False) -> str:
    """Hash shape, dtype and at most 1024 values spread over the whole tensor, or all: cheap for billions of parameters."""
    flat = tensor.detach().reshape(-1)
    stride = 1 if whole else max(1, -(-flat.numel() // SAMPLES))
    sample = flat[::stride].cpu().contiguous()
    found = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    if sample.numel():
        found.update(sample.view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def fingerprint(model: nn.Module, exclude: Iterable[str] = (), whole: bool = False) -> dict[str, str]:
    """Return a short hash of each parameter and buffer of the network, by name.

    Args:
        model: the network.
        exclude: modules to leave out: a freshly made head differs between constructions, and is saved whole.
        whole: every number counts; about a second for each gigabyte of weights.
    """
    prefixes = tuple(f"{name}." for name in exclude)
    return {
        name: digest(tensor, whole)
        for name, tensor in model.state_dict().items()
        if not name.startswith(prefixes or ("\0",))
    }


def check_fingerprint(saved: dict[str, str], model: nn.Module, exclude: Iterable[str] = ()) -> None:
    """Check that a network has the weights that a posterior was fitted on.

    Raises:
        CheckpointError: the message names the first tensor that is missing, unexpected or different.
    """
    found = fingerprint(model, exclude)
    for name in {**saved, **found}:
        if name not in found:
            raise CheckpointError(f"the saved posterior belongs to a network with '{name}', which this one lacks.")
        if name not in saved:
            raise CheckpointError(f"this network has '{name}', which the one that the posterior was fitted on lacked.")
        if saved[name] != found[name]:
            raise CheckpointError(
                f"'{name}' has other values, shape or dtype than in the network that the posterior was fitted on; load "
                "the same base with the same dtype."
            )
