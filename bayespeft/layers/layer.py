"""Finds the layers to adapt. The only file that knows which module classes are linear maps, and their orientation."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bayespeft.config import Targets
from bayespeft.errors import AttachError, ConfigError, TargetError
from bayespeft.networks.configuration import setting
from bayespeft.networks.embeddings import output_embedding

# Query and value projections (or the fused projection that holds them), by `config.model_type`.
_QUERY_VALUE = {
    (
        "query",
        "value",
    ): "albert bert camembert convbert data2vec-text electra ernie layoutlm megatron-bert roberta "
    "roformer vit xlm-roberta xlm-roberta-xl",
    (
        "q_proj",
        "v_proj",
    ): "bart blenderbot clip cohere cohere2 gemma gemma2 gemma3 gemma3_text gpt_neo gptj granite llama "
    "m2m_100 marian mbart mistral mixtral olmo olmo2 opt pegasus phi qwen2 qwen2_moe qwen3 qwen3_moe smollm3 stablelm "
    "starcoder2 whisper",
    ("q", "v"): "longt5 mpnet mt5 t5 umt5",
    ("c_attn",): "gpt2 gpt_bigcode",
    ("query_key_value",): "bloom falcon gpt_neox",
    ("Wqkv",): "modernbert mpt",
    # DeBERTa's query projection also serves relative positions, which belong to no example.
    ("value_proj",): "deberta-v2",
    ("in_proj",): "deberta",
    ("q_lin", "v_lin"): "distilbert",
    ("qkv_proj",): "phi3",
}
AUTO_TARGETS = {kind: layers for layers, kinds in _QUERY_VALUE.items() for kind in kinds.split()}


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


def all_layers(model: nn.Module) -> dict[str, Layer]:
    """Return every linear layer of a network by name."""
    layers = {name: as_layer(name, module) for name, module in model.named_modules()}
    return {name: layer for name, layer in layers.items() if layer is not None}


def _alike(model: nn.Module) -> dict[str, nn.Module]:
    """Return modules that call themselves linear maps and are none that we know, such as layers quantised by GPTQ, AWQ, HQQ."""
    sides = (("in_features", "out_features"), ("infeatures", "outfeatures"))
    return {
        name: module
        for name, module in model.named_modules()
        if as_layer(name, module) is None
        # What wraps a linear layer (torch.compile in place, say) speaks for the one inside, which is adapted.
        and all(as_layer(name, child) is None for child in module.children())
        and any(all(isinstance(getattr(module, side, None), int) for side in pair) for pair in sides)
    }


class _Others(NamedTuple):
    """What a network has besides linear layers that a user might take for some.

    Attributes:
        alike: modules that call themselves linear maps and are none that we know.
        stacks: what is in stacks of matrices, in words.
    """

    alike: Mapping[str, nn.Module]
    stacks: str

    @property
    def said(self) -> str:
        """Sentences about them, each with a space before it; nothing where there are none."""
        return "".join(f" {text}" for text in (_refused(self.alike), self.stacks) if text)


def _refused(alike: Mapping[str, nn.Module]) -> str:
    """Say which layers can't be adapted, and what to do; nothing where there are none."""
    if not alike:
        return ""
    name, module = next(iter(alike.items()))
    more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
    return (
        f"'{name}'{more} can't be adapted: {type(module).__module__}.{type(module).__name__} is no torch.nn.Linear "
        "(quantised by GPTQ, AWQ, HQQ or the like?). Load the network unquantised, or quantised by bitsandbytes "
        "(BitsAndBytesConfig)."
    )


def _stacked(model: nn.Module) -> str:
    """Say how much of a network is in stacks of matrices, as experts of a mixture are stored; nothing if it is little."""
    stacks = {
        f"{name}.{part}".lstrip("."): (parameter, module)
        for name, module in model.named_modules()
        for part, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3 and len(parameter) > 1 and not isinstance(module, nn.modules.conv._ConvNd)
    }
    share = sum(p.numel() for p, _ in stacks.values()) / max(1, sum(p.numel() for p in model.parameters()))
    if share < 0.01:
        return ""
    name, (parameter, module) = next(iter(stacks.items()))
    return (
        f"{share:.0%} of the network's numbers are in {len(stacks)} stacks of matrices, such as '{name}' "
        f"{tuple(parameter.shape)} of {type(module).__name__}, as experts of a mixture are stored: adapters are for linear "
        "layers and leave them as they are."
    )


def _summary(layers: dict[str, Layer]) -> str:
    """Name the candidates the way a user would write them: last parts of names, each with its count."""
    counts: dict[str, int] = {}
    for name in layers:
        last = name.rsplit(".", 1)[-1]
        counts[last] = counts.get(last, 0) + 1
    return ", ".join(f"{name} (x{count})" if count > 1 else name for name, count in sorted(counts.items())) or "none"


def block_of(name: str) -> int | None:
    """Return the block that a module belongs to, the first number in its dotted name, or None where it has none."""
    number = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return int(number[1]) if number else None


def _in_layers(name: str, layers: tuple[int, int] | None, blocks: int) -> bool:
    if layers is None:
        return True
    first, last = (number + blocks if number < 0 else number for number in layers)
    block = block_of(name)
    return block is not None and first <= block <= last


def _by_names(names: Sequence[str], layers: dict[str, Layer], others: _Others) -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for wanted in names:
        if same := {name: module for name, module in others.alike.items() if f".{name}".endswith(f".{wanted}")}:
            raise TargetError(f"layer {_refused(same)}")
        matches = {name: layer for name, layer in layers.items() if name == wanted or name.endswith(f".{wanted}")}
        if not matches:
            raise TargetError(
                f"no linear layer is called {wanted!r}. Linear layers of this network: {_summary(layers)}.{others.said}"
            )
        found |= matches
    return {name: layer for name, layer in layers.items() if name in found}


def _by_architecture(model: nn.Module, layers: dict[str, Layer], others: _Others) -> dict[str, Layer]:
    kind = setting(model, "model_type")
    if kind not in AUTO_TARGETS:
        what = f"architecture {kind!r}" if kind else f"network {type(model).__name__}"
        raise TargetError(
            f"targets='auto' does not know the {what}. Name the layers, as in targets=['...'], or use "
            f"targets='all-linear'. Its linear layers: {_summary(layers)}."
        )
    last = {name.rsplit(".", 1)[-1] for name in (*layers, *others.alike)}
    # Versions of transformers name the same layers otherwise.
    known = (names for names in (AUTO_TARGETS[kind], *_QUERY_VALUE) if last.issuperset(names))
    return _by_names(next(known, AUTO_TARGETS[kind]), layers, others)


def find_layers(model: nn.Module, targets: Targets, exclude: Sequence[str] = ()) -> list[Layer]:
    """Select the layers that `targets` describes, in the network's order.

    Args:
        model: the network.
        targets: see `Targets`.
        exclude: names that are taken already (the head).

    Raises:
        TargetError: nothing is selected; the message lists the candidates.
        ConfigError: a regular expression that can't be compiled.
    """
    layers = {name: layer for name, layer in all_layers(model).items() if name not in set(exclude)}
    others = _Others(_alike(model), _stacked(model))
    if not layers:
        raise TargetError(f"{type(model).__name__} has no linear layer to adapt.{others.said}")
    chosen = targets.modules
    if isinstance(chosen, list):
        found = _by_names(chosen, layers, others)
    elif chosen == "auto":
        found = _by_architecture(model, layers, others)
    elif chosen == "all-linear":
        output = output_embedding(model)
        found = {name: layer for name, layer in layers.items() if layer.module is not output}
        if others.said:
            warnings.warn(f"targets='all-linear' leaves layers out.{others.said}", stacklevel=2)
    elif chosen in layers:
        found = {chosen: layers[chosen]}
    else:
        try:
            pattern = re.compile(chosen)
        except re.error as error:
            raise ConfigError(f"targets: {chosen!r} is no regular expression ({error}).") from None
        if same := {name: module for name, module in others.alike.items() if pattern.fullmatch(name)}:
            raise TargetError(f"layer {_refused(same)}")
        found = {name: layer for name, layer in layers.items() if pattern.fullmatch(name)}
    blocks = 1 + max((block for name in layers if (block := block_of(name)) is not None), default=-1)
    kept = [layer for name, layer in found.items() if _in_layers(name, targets.layers, blocks)]
    if not kept:
        where = f" in layers {targets.layers[0]} to {targets.layers[1]}" if targets.layers else ""
        raise TargetError(
            f"targets={chosen!r}{where} selects no linear layer. Candidates: {_summary(layers)}.{others.said}"
        )
    return kept
