"""Stand-ins for quantised layers, with the attributes of each library's; and the layers of libraries that are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from bayespeft.testing.networks import SIZES, SPREAD


class WholeNumbers(nn.Module):
    """As GPTQ's layers (gptqmodel): whole numbers, transposed, a scale for each output; no weight, nothing to read it by."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._sides(layer)
        scales = layer.weight.detach().abs().amax(1) / 127
        self.register_buffer(
            "qweight", (layer.weight.detach() / scales[:, None]).round().to(torch.int8).mT.contiguous()
        )
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    def _sides(self, layer: nn.Linear) -> None:
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        y = x @ (self.qweight * self.scales).to(x)
        return y if self.bias is None else y + self.bias.to(y)


class OldNames(WholeNumbers):
    """As auto-gptq's: the sizes in one word."""

    def _sides(self, layer: nn.Linear) -> None:
        self.infeatures, self.outfeatures = layer.in_features, layer.out_features


class HalfPrecision(WholeNumbers):
    """As AWQ's: it takes float16 alone."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float16:
            raise AssertionError("float16 is expected")
        return super().forward(x.float()).half()


class Casting(WholeNumbers):
    """As AWQ's in gptqmodel: its scales are of the last input's precision, or of float16 where that is another."""

    def forward(self, x: Tensor) -> Tensor:
        precision = x.dtype if x.dtype in (torch.float16, torch.bfloat16) else torch.float16
        self.scales = self.scales.to(precision)
        return super().forward(x)


class HalfInside(WholeNumbers):
    """As AWQ's in gptqmodel: whatever comes, it computes in float16."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.half()).to(x.dtype)


class Dequantising(WholeNumbers):
    """As HQQ's: it gives its weight."""

    def dequantize(self) -> Tensor:
        return (self.qweight * self.scales).mT.contiguous()


class EightBitFloats(nn.Linear):
    """As transformers' FP8Linear: a torch.nn.Linear whose weight is one only when its scale is put to it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        scale = layer.weight.detach().abs().amax() / 448
        stored = (layer.weight.detach() / scale).to(torch.float8_e4m3fn)
        self.weight = nn.Parameter(stored, requires_grad=False)
        self.register_buffer("weight_scale_inv", scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype) * self.weight_scale_inv.to(x), self.bias)


class Compressed(nn.Linear):
    """As those of compressed-tensors: a torch.nn.Linear without its weight."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        self.packed = WholeNumbers(layer)
        del self.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.packed(x)


class OfTwoTensors(Tensor):
    """As torchao's and optimum-quanto's: a tensor that says it is float32, and is made of two others."""

    @staticmethod
    def __new__(cls, whole: Tensor, scales: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(cls, whole.shape, dtype=torch.float32, device=whole.device)

    def __init__(self, whole: Tensor, scales: Tensor) -> None:
        self.whole, self.scales = whole, scales

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["whole", "scales"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], _: Any, size: Any, stride: Any) -> Tensor:
        return OfTwoTensors(inner["whole"], inner["scales"])

    def dequantize(self) -> Tensor:
        return self.whole * self.scales[:, None]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.linear:
            return F.linear(args[0], args[1].dequantize(), *args[2:], **(kwargs or {}))
        return super().__torch_function__(function, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.ops.aten.detach.default, torch.ops.aten.clone.default, torch.ops.aten.alias.default):
            return OfTwoTensors(args[0].whole, args[0].scales)
        raise NotImplementedError(f"{function} of a quantised tensor")


def of_two_tensors(layer: nn.Linear) -> nn.Linear:
    """Return a torch.nn.Linear with such a weight."""
    found = WholeNumbers(layer)
    layer.weight = nn.Parameter(OfTwoTensors(found.qweight.mT.contiguous(), found.scales), requires_grad=False)
    return layer


STAND_INS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "gptq": WholeNumbers,
    "auto-gptq": OldNames,
    "hqq": Dequantising,
    "fp8": EightBitFloats,
    "compressed-tensors": Compressed,
    "torchao": of_two_tensors,
}


def rounded(layer: nn.Linear, group: int, most: int = 15) -> tuple[Tensor, Tensor]:
    """Return scales and zero points (out, groups) that round each group of a row's weights to 0..most, as GPTQ and AWQ do."""
    parts = layer.weight.detach().unflatten(1, (-1, group))
    low, high = parts.amin(-1), parts.amax(-1)
    scales = ((high - low) / most).half().float()
    return scales, (-low / scales).round().clamp(0, most)


def wide_bert(width: int) -> BertForSequenceClassification:
    """A BERT whose layers are wide enough for whole words of four-bit numbers, the same one each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            **(SIZES | {"hidden_size": width, "intermediate_size": width}), num_labels=2, initializer_range=SPREAD
        )
        return BertForSequenceClassification(config).eval()


def replaced(model: nn.Module, make: Callable[[nn.Linear], nn.Module], within: str = "") -> nn.Module:
    """Put quantised layers in the place of a network's linear ones whose names start so; return the network."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and name.startswith(within):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, make(module))
    return model
