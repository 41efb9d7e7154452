"""A layer that can be adapted. The only file that knows which module classes are linear maps, and their orientation."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayespeft.errors import AttachError


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that can be adapted.

    Attributes:
        name: the module's dotted name in the network.
        in_features: n, the size of the layer's input.
        out_features: m, the size of its output.
        kind: "linear" or "conv1d" (GPT-2's, which stores the transposed weight).
        module: the layer itself; only `merge` changes it.
    """

    name: str
    in_features: int
    out_features: int
    kind: str
    module: nn.Module

    def weight(self) -> Tensor:
        """Return a detached float copy of the layer's weight, always (out, in).

        Raises:
            AttachError: the weight is stored in a packed (quantised) form.
        """
        weight = self.parameter
        if not weight.is_floating_point() or weight.dim() != 2:
            raise AttachError(
                f"layer '{self.name}' stores its weight as {weight.dtype} of shape {tuple(weight.shape)}, which can't be "
                "read as a matrix; adapt it with an adapter that needs no weight (lora, core)."
            )
        weight = weight.detach().float()
        return (weight.t() if self.kind == "conv1d" else weight).clone()

    @property
    def parameter(self) -> Tensor:
        """The layer's own weight as it is stored."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def stored(self) -> Tensor:
        """A view of the layer's own weight that is always (out, in)."""
        return self.parameter.t() if self.kind == "conv1d" else self.parameter

    def check_mergeable(self) -> None:
        """Check that a small change can be added to the stored weight without being rounded away.

        Raises:
            AttachError: the weight is quantised or in half precision.
        """
        weight = self.parameter
        if weight.dtype not in (torch.float32, torch.float64) or weight.dim() != 2:
            raise AttachError(
                f"layer '{self.name}' stores its weight as {weight.dtype} of shape {tuple(weight.shape)}, and merging into it "
                "would round the change away. Load the network in float32 (training may still run in bf16), or use an "
                "adapter that stays beside the weight (lora, core)."
            )

    @torch.no_grad()
    def merge(self, left: Tensor, right: Tensor) -> None:
        """Add left @ right, of (m, k) and (k, n), to the layer's own weight, in place.

        Raises:
            AttachError: as `check_mergeable`.
        """
        self.check_mergeable()
        stored = self.stored
        stored.addmm_(left.to(stored), right.to(stored))

    def bias(self) -> Tensor | None:
        """Return a detached float copy of the layer's bias (out,), or None."""
        bias = self.module.bias
        return bias.detach().float().clone() if isinstance(bias, Tensor) else None


def as_layer(name: str, module: nn.Module) -> Layer | None:
    """Describe a module as a layer, or return None when it is no linear map that a hook can follow."""
    if isinstance(module, nn.Linear):
        return Layer(name, module.in_features, module.out_features, "linear", module)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        weight = module.weight
        assert isinstance(weight, Tensor)
        return Layer(name, weight.shape[0], weight.shape[1], "conv1d", module)
    return None


def sides_of(module: nn.Module) -> tuple[int, int] | None:
    """Return how many numbers a layer reads and gives that is a linear map, or calls itself one; None of other modules."""
    if (layer := as_layer("", module)) is not None:
        return layer.in_features, layer.out_features
    for names in (("in_features", "out_features"), ("infeatures", "outfeatures")):
        reads, gives = (getattr(module, name, None) for name in names)
        if isinstance(reads, int) and isinstance(gives, int):
            return reads, gives
    return None


def all_layers(model: nn.Module) -> dict[str, Layer]:
    """Return every linear layer of a network by name."""
    layers = {name: as_layer(name, module) for name, module in model.named_modules()}
    return {name: layer for name, layer in layers.items() if layer is not None}


def block_of(name: str) -> int | None:
    """Return the block that a module belongs to, the first number in its dotted name, or None where it has none."""
    number = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return int(number[1]) if number else None
