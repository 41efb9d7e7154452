"""A layer that can be adapted. The only file that knows which modules are linear maps, and how their weights are stored.

An adapter that stays beside the weight needs a layer's input and output, which any linear map has: torch.nn.Linear, GPT-2's
Conv1D, and whatever else says how many numbers it reads and gives, as layers quantised by GPTQ, AWQ or HQQ do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from bayespeft.errors import AttachError
from bayespeft.layers.dequantised import dequantised
from bayespeft.utils.sharded import is_sharded, whole

_PLAIN = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that can be adapted.

    Attributes:
        name: the module's dotted name in the network.
        in_features: n, the size of the layer's input.
        out_features: m, the size of its output.
        kind: "linear", "conv1d" (GPT-2's, which stores the transposed weight), or "other", which says how many numbers it
            reads and gives.
        module: the layer itself; only `merge` changes it.
    """

    name: str
    in_features: int
    out_features: int
    kind: str
    module: nn.Module

    @property
    def packed(self) -> bool:
        """Whether the weight is stored in another form than as a matrix of floats: quantised, or who knows how."""
        weight = getattr(self.module, "weight", None)
        sides = (self.out_features, self.in_features)
        return (
            self.kind == "other"
            or not isinstance(weight, Tensor)
            or (is_traceable_wrapper_subclass(weight) and not is_sharded(weight))
            or weight.dtype not in _PLAIN
            or tuple(weight.shape) != (sides[::-1] if self.kind == "conv1d" else sides)
        )

    def fits(self, x: object, output: object) -> bool:
        """Whether an input and output of the module are those of a map of tensors (..., n) -> (..., m)."""
        return (
            isinstance(x, Tensor)
            and isinstance(output, Tensor)
            and (x.shape[-1:], output.shape[-1:]) == ((self.in_features,), (self.out_features,))
        )

    def weight(self) -> Tensor:
        """Return a detached float copy of the layer's weight, always (out, in); dequantised where it is packed.

        Raises:
            AttachError: it is packed, and can't be had as a matrix.
        """
        if not self.packed:
            return whole(self.stored).float().clone()
        found = dequantised(self.module, self.in_features, self.out_features)
        if found is None:
            raise AttachError(
                f"{self._how}, and it does not act as a matrix of {self.out_features} x {self.in_features} that could be read. "
                "Adapt it with an adapter that needs no weight (lora, core), or load the network unquantised."
            )
        return found.contiguous()

    @property
    def _how(self) -> str:
        weight, cls = getattr(self.module, "weight", None), type(self.module)
        what = f"{cls.__module__}.{cls.__name__}"
        if not isinstance(weight, Tensor):
            return f"layer '{self.name}' ({what}) stores its weight in a form of its own"
        kind = f"{type(weight).__name__} of " if is_traceable_wrapper_subclass(weight) else ""
        return f"layer '{self.name}' ({what}) stores its weight as {kind}{weight.dtype} of shape {tuple(weight.shape)}"

    @property
    def parameter(self) -> Tensor:
        """The layer's own weight as it is stored, where it is not packed."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def stored(self) -> Tensor:
        """A view of the layer's own weight that is always (out, in), where it is not packed."""
        return self.parameter.t() if self.kind == "conv1d" else self.parameter

    def matrix(self) -> Tensor:
        """Return the layer's weight (out, in), detached: a view where it is stored so, else as `weight`."""
        return self.weight() if self.packed else whole(self.stored)

    def check_mergeable(self) -> None:
        """Check that a small change can be added to the stored weight without being rounded away.

        Raises:
            AttachError: the weight is quantised, sharded, in half precision, or computed anew in each pass.
        """
        self.check_kept()
        if not self.packed and is_sharded(self.parameter):
            raise AttachError(
                f"{self._how}, sharded over processes, and can't be merged into: load the posterior on the whole network."
            )
        if self.packed or self.parameter.dtype not in (torch.float32, torch.float64):
            raise AttachError(
                f"{self._how}, and merging into it would round the change away. Load the network in float32 (training may "
                "still run in bf16), or use an adapter that stays beside the weight (lora, core)."
            )

    def check_kept(self) -> None:
        """Check that the layer keeps its weight itself, so that one that is put in its place stays there.

        Raises:
            AttachError: the weight is computed anew from other numbers.
        """
        weight = getattr(self.module, "weight", None)
        if not self.packed and weight is not self.module._parameters.get("weight"):
            raise AttachError(
                f"the weight of layer '{self.name}' is computed from other numbers in each pass (pruning, weight_norm, a "
                "parametrisation), and what is merged into it would be gone after the next. Make it a plain one first: "
                "torch.nn.utils.prune.remove, or torch.nn.utils.parametrize.remove_parametrizations."
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
        bias = getattr(self.module, "bias", None)
        return whole(bias).float().clone() if isinstance(bias, Tensor) else None


def as_layer(name: str, module: nn.Module) -> Layer | None:
    """Describe a module as a layer, or return None when it is no linear map that a hook can follow.

    What wraps a linear map (torch.compile in place, say) speaks for the one inside, and is none.
    """
    if isinstance(module, nn.Linear):
        return Layer(name, module.in_features, module.out_features, "linear", module)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        weight = module.weight
        assert isinstance(weight, Tensor)
        return Layer(name, weight.shape[0], weight.shape[1], "conv1d", module)
    for names in (("in_features", "out_features"), ("infeatures", "outfeatures")):
        reads, gives = (getattr(module, side, None) for side in names)
        if isinstance(reads, int) and isinstance(gives, int):
            inside = any(as_layer("", child) is not None for child in module.children())
            return None if inside else Layer(name, reads, gives, "other", module)
    return None


def sides_of(module: nn.Module) -> tuple[int, int] | None:
    """Return how many numbers a layer reads and gives; None of a module that is none."""
    layer = as_layer("", module)
    return None if layer is None else (layer.in_features, layer.out_features)


def all_layers(model: nn.Module) -> dict[str, Layer]:
    """Return every linear layer of a network by name; what a layer is made of inside is none of its own.

    Nor are those that TorchScript compiled, which take no hooks.
    """
    layers: dict[str, Layer] = {}
    for name, module in model.named_modules():
        above = name.split(".")[:-1]
        if any(".".join(above[:k]) in layers for k in range(len(above) + 1)) or isinstance(
            module, torch.jit.ScriptModule
        ):
            continue
        if (layer := as_layer(name, module)) is not None:
            layers[name] = layer
    return layers


def block_of(name: str) -> int | None:
    """Return the block that a module belongs to, the first number in its dotted name, or None where it has none."""
    number = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return int(number[1]) if number else None
