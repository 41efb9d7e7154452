"""The weight of a layer that stores it in a form of its own (quantised): as it says, or as it acts on unit vectors.

Whatever stores a linear map, y = W x + b, shows its weight by what it makes of the unit vectors e_i: the column W e_i is half
the difference of the outputs at e_i and -e_i. So no library's format has to be known here, and what a layer gives as its
weight (`dequantize`, of torchao, optimum-quanto, HQQ) is believed only if the layer acts by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# So many unit vectors go through a layer at once.
CHUNK = 256
# By what part of the outputs a layer may be off its weight: kernels that round their input to eight bits are off by one
# or two hundredths, and those that take weights through bf16 by less.
TOLERANCE = 0.05
CHECKED = 8

Halves = Callable[[Tensor], tuple[Tensor, Tensor]]


@torch.no_grad()
def dequantised(module: nn.Module, reads: int, gives: int) -> Tensor | None:
    """Return the weight (gives, reads) of a linear map, float32 on its device; None where it doesn't act as one.

    Args:
        module: the layer; hooks on it are passed over.
        reads: n, the size of its input.
        gives: m, the size of its output.
    """
    device = _device(module)
    with _as_it_was(module), torch.autocast(device.type, enabled=False):
        halves = _halves(module, device)
        ways: tuple[Callable[[], Any], ...] = (
            lambda: module.weight.dequantize(),  # type: ignore[operator]
            lambda: module.dequantize(),  # type: ignore[operator]
            lambda: _acting(halves, reads, gives, device),
        )
        for way in ways:
            weight = _said(way)
            if weight is not None and tuple(weight.shape) == (gives, reads) and _acts(halves, weight):
                return weight
    return None


@torch.no_grad()
def computes_in_half(module: nn.Module, reads: int) -> bool:
    """Whether a layer that takes float32 gives numbers of half precision, whatever type it gives them as (AWQ's in gptqmodel).

    Args:
        module: the layer; hooks on it are passed over.
        reads: n, the size of its input.
    """
    device = _device(module)
    x = torch.randn(CHECKED, reads, generator=torch.Generator().manual_seed(0)).to(device)
    with _as_it_was(module), torch.autocast(device.type, enabled=False):
        found = _said(lambda: module.forward(x))
    return found is not None and any(
        torch.equal(found, found.to(half).float()) for half in (torch.float16, torch.bfloat16)
    )


@contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Run a layer as in training, and give it back its mode and its tensors.

    In evaluation mode a layer may repack its weight for a kernel without a backward pass (bitsandbytes, four bits); and some
    take their scales into the precision of whatever input comes, and keep them so, rounded (AWQ's in gptqmodel).
    """
    training, held = module.training, [(part, {**part._parameters}, {**part._buffers}) for part in module.modules()]
    module.training = True
    try:
        yield
    finally:
        module.training = training
        for part, parameters, buffers in held:
            # A layer that has unpacked itself has other names, which go with a state of its own.
            part._parameters.update({name: value for name, value in parameters.items() if name in part._parameters})
            part._buffers.update({name: value for name, value in buffers.items() if name in part._buffers})


def _device(module: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def _halves(module: nn.Module, device: torch.device) -> Halves:
    """Return the function x (k, n) -> W x and bias, each float32 (k, m), in the first precision that the layer takes."""
    able: list[torch.dtype] = []

    def at(x: Tensor) -> tuple[Tensor, Tensor]:
        errors = []
        for dtype in able or (torch.float32, torch.bfloat16, torch.float16):
            given = x.to(device, dtype)
            try:
                # Hooks see `module(x)` alone: those of an adapter must not act here.
                there, back = module.forward(given).float(), module.forward(-given).float()
            except Exception as error:  # whatever a kernel raises that does not take this precision
                errors.append(error)
            else:
                able[:] = [dtype]
                return (there - back) / 2, (there + back) / 2
        raise errors[0]

    return at


def _acting(halves: Halves, reads: int, gives: int, device: torch.device) -> Tensor:
    """Return the weight by its columns."""
    found = torch.empty(gives, reads, device=device)
    for begin in range(0, reads, CHUNK):
        units = torch.zeros(min(CHUNK, reads - begin), reads)
        units[torch.arange(len(units)), begin + torch.arange(len(units))] = 1.0
        found[:, begin : begin + CHUNK] = halves(units)[0].mT
    return found


def _said(way: Callable[[], Any]) -> Tensor | None:
    try:
        weight = way()
    except Exception:  # no such method, or one that does not apply
        return None
    return weight.detach().float() if isinstance(weight, Tensor) and weight.dim() == 2 else None


def _acts(halves: Halves, weight: Tensor) -> bool:
    """Whether a layer does to random inputs what this weight does, but for a constant."""
    x = torch.randn(CHECKED, weight.shape[1], generator=torch.Generator().manual_seed(0))
    try:
        found, constant = halves(x)
    except Exception:  # whatever a kernel raises
        return False
    expected = x.to(weight) @ weight.mT
    most = TOLERANCE * expected.norm()
    return bool((found.to(expected) - expected).norm() <= most and (constant - constant[0]).norm() <= most)
