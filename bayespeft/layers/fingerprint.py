"""A fingerprint of a base network: which weights a posterior belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from bayespeft.errors import CheckpointError
from bayespeft.layers.architecture import KINDS, architecture, check_architecture
from bayespeft.utils.sharded import is_sharded, whole

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
    tensor = whole(tensor)
    flat = _plain(tensor).reshape(-1)
    for begin in range(0, flat.numel(), CHUNK):
        part = flat[begin : begin + CHUNK].to(flat.dtype if tensor.is_quantized else dtype).cpu().contiguous()
        found.update(part.view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor that is sparse, quantised or conjugated as one of numbers side by side."""
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    return (tensor if tensor.layout == torch.strided else tensor.to_dense()).resolve_conj().resolve_neg()


def fingerprint(model: nn.Module, exclude: Iterable[str] = ()) -> dict[str, str]:
    """Return dtype and hash of all values of each parameter and buffer of the network, by name: "float32 0123456789abcdef".

    What it computes with beside them is added: see `bayespeft.layers.architecture`.

    Args:
        model: the network.
        exclude: modules to leave out: a freshly made head differs between constructions, and is saved whole.
    """
    prefixes = tuple(f"{name}." for name in exclude) or ("\0",)
    tensors = {name: tensor for name, tensor in tensors_of(model).items() if not name.startswith(prefixes)}
    beside = {name: entry for name, entry in architecture(model).items() if not name.startswith(prefixes)}
    if any(map(is_sharded, tensors.values())):
        # All processes gather the same tensor at a time.
        return {name: _entry(tensor) for name, tensor in tensors.items()} | beside
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        return dict(zip(tensors, threads.map(_entry, tensors.values()), strict=True)) | beside


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network's state by name, those that a quantised tensor or a tuple is made of one by one.

    What modules add to it of their own (`get_extra_state`) is no tensor, and does not count.
    """
    found: dict[str, Tensor] = {}

    def add(name: str, value: object) -> None:
        if is_traceable_wrapper_subclass(value) and not is_sharded(value):
            for part in value.__tensor_flatten__()[0]:
                add(f"{name}.{part}", getattr(value, part))
        elif isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, (tuple, list)):
            for number, part in enumerate(value):
                add(f"{name}.{number}", part)

    for name, value in model.state_dict().items():
        add(name, value)
    return found


def _entry(tensor: Tensor, dtype: torch.dtype | None = None) -> str:
    dtype = dtype or tensor.dtype
    return f"{str(dtype).removeprefix('torch.')} {digest(tensor, dtype)}"


def differs(entry: str, tensor: Tensor) -> bool:
    """Whether a tensor has other values than the one that an entry of a fingerprint is of, as far as its precision tells."""
    dtype = _dtype(entry)
    if dtype is None or (tensor.dtype != dtype and tensor.dtype.itemsize <= dtype.itemsize):
        return False
    return entry != _entry(tensor, dtype)


def check_fingerprint(saved: dict[str, str], model: nn.Module, exclude: Iterable[str] = ()) -> None:
    """Check that a network has the weights that a posterior was fitted on, which may be stored in a higher precision.

    Raises:
        CheckpointError: the message names the first tensor that is missing, unexpected or different, or what else is.
    """
    beside = {name: entry for name, entry in saved.items() if str(entry).startswith(KINDS)}
    saved = {name: entry for name, entry in saved.items() if name not in beside}
    found = {name: entry for name, entry in fingerprint(model, exclude).items() if not entry.startswith(KINDS)}
    tensors = tensors_of(model)
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
    check_architecture(beside, model)


def _dtype(entry: str) -> torch.dtype | None:
    dtype = getattr(torch, str(entry).partition(" ")[0], None)
    return dtype if isinstance(dtype, torch.dtype) else None
