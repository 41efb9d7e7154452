"""LoRA in peft's format: `adapter_config.json` and `adapter_model.safetensors`, without peft itself.

peft (0.14 and later) computes y = W0 x + s B A x with s = lora_alpha / r, or lora_alpha / sqrt(r) where use_rslora is set
(Kalajdzievski 2023, arXiv 2312.03732); rank_pattern and alpha_pattern override r and lora_alpha by layer, and layers named
in modules_to_save are stored whole. What else its configuration can say changes the network and is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from bayespeft.errors import CheckpointError
from bayespeft.io.peft_live import is_live, read_live
from bayespeft.layers.fingerprint import digest
from bayespeft.layers.layer import Layer, all_layers
from bayespeft.utils.files import digest as file_digest

CONFIG, TENSORS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
DIGEST = "bayespeft.sha256"

# peft's configuration may hold the fields that are read here, and those that matter only before or during training.
_KNOWN = (
    "peft_type r lora_alpha rank_pattern alpha_pattern use_rslora modules_to_save bias init_lora_weights "
    "base_model_name_or_path revision task_type inference_mode auto_mapping peft_version target_modules exclude_modules "
    "layers_to_transform layers_pattern lora_dropout fan_in_fan_out loftq_config eva_config corda_config lora_ga_config "
    "megatron_core qalora_group_size"
)
_SCALES = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "modules_to_save")
_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# The other initialisations change the base weights, or the forward pass.
_PLAIN_INITS = (True, False, "gaussian", "orthogonal", "eva")
_MERGE = "merge it in peft (model.merge_and_unload()) and take the merged network as the base"

# peft writes the weights of a base under this name, beside a LoRA on it.
_BASE = ".base_layer."


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The change alpha / r * B A of one layer's weight; A (r, n) and B (m, r), float32, on the CPU."""

    A: Tensor
    B: Tensor
    alpha: float


@dataclass(frozen=True, slots=True, eq=False)
class PeftLora:
    """What a LoRA of peft says of a network.

    Attributes:
        pairs: the low-rank change of each adapted layer, by the layer's name, in the network's order.
        whole: for each linear layer that was saved whole, and differs from the network's own, its weight "W" (m, n) and
            its bias "b" (m,) where it has one; float32.
        files: SHA-256 of each file as it was read, in hexadecimal digits, as `sha256sum` has it; none where it was in memory.
    """

    pairs: dict[str, LoraPair]
    whole: dict[str, dict[str, Tensor]]
    files: dict[str, str]


def read_lora(source: Any, model: nn.Module) -> PeftLora:
    """Read a LoRA for the network that it was trained on.

    Args:
        source: the folder that peft's `save_pretrained` wrote, or a `peft.PeftModel`.
        model: the network, without it.

    Raises:
        ConfigError: several adapters of a PeftModel are active. CheckpointError: a file is missing, damaged or a pickle; the
            adapter is more than a LoRA on linear layers; or a layer is missing in the network or has another shape, or
            numbers of another kind.
    """
    config, tensors, files = (*read_live(source), {}) if is_live(source) else _read_files(Path(source))
    _check_config(config)
    layers = all_layers(model)
    halves: dict[str, dict[str, Tensor]] = {}
    others: dict[str, Tensor] = {}
    own = model.state_dict()
    for key, value in tensors.items():
        name = key.removeprefix(PREFIX)
        if not torch.isfinite(value.float()).all():
            raise CheckpointError(f"tensor '{key}' holds values that are not finite; train it again.")
        half = re.fullmatch(r"(.+)\.lora_([AB])\.weight", name)
        if half:
            halves.setdefault(half[1], {})[half[2]] = value
        elif ".lora_" in name:
            raise CheckpointError(
                f"tensor '{key}' is no A or B of a linear layer, but belongs to an embedding, a DoRA or a LoRA bias; {_MERGE}."
            )
        elif _BASE in name:
            _check_base(name.replace(_BASE, "."), value, own)
        else:
            others[name] = value
    if not halves:
        where = "the PeftModel" if is_live(source) else f"'{Path(source) / TENSORS}'"
        raise CheckpointError(f"{where} holds no tensor that ends in lora_A.weight.")
    for name in halves:
        _check_layer(name, layers, model, config)
    pairs = {name: _pair(halves[name], layer, config) for name, layer in layers.items() if name in halves}
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(wanted, str) for wanted in saved):
        raise CheckpointError(f"modules_to_save is {saved!r:.40}: a list of names is expected.")
    for wanted in saved:
        for name, module in model.named_modules():
            named = name == wanted or name.endswith(f".{wanted}")
            if named and module.state_dict() and not any(key.startswith(f"{name}.") for key in others):
                raise CheckpointError(f"modules_to_save lists '{wanted}', but the file holds no tensor of '{name}'.")
    return PeftLora(pairs, _whole_layers(others, layers, model), files)


def _check_base(name: str, value: Tensor, own: Mapping[str, Tensor]) -> None:
    """Check a weight of the base, which peft writes beside a LoRA on an embedding or an output embedding.

    Raises:
        CheckpointError: the network has none of that name, or another one.
    """
    there = own.get(name)
    if there is None or there.shape != value.shape or not torch.equal(value.to(there), there):
        has = "lacks it" if there is None else "has another one"
        raise CheckpointError(
            f"the file holds the base's '{name}' of shape {tuple(value.shape)}, and this network {has}: load the base that the "
            "LoRA was trained on, with the same vocabulary."
        )


def _read_files(source: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, str]]:
    """Return configuration, tensors, and the SHA-256 of the files that they are read from."""
    # `os.path.isfile`, unlike `Path.is_file`, takes names that no file can have.
    if os.path.isfile(source / PICKLE) and not os.path.isfile(source / TENSORS):
        raise CheckpointError(
            f"'{source}' holds {PICKLE}, a pickle, which can run any code when it is read; write it anew with "
            f"safe_serialization=True, so that it holds {TENSORS}."
        )
    for name in (CONFIG, TENSORS):
        if not os.path.isfile(source / name):
            raise CheckpointError(f"'{source}' holds no LoRA of peft: {name} is missing.")
    try:
        # Read once, so that the digests are of what is used.
        contents = {name: (source / name).read_bytes() for name in (CONFIG, TENSORS)}
        config = json.loads(contents[CONFIG])
        tensors = dict(sorted(load(contents[TENSORS]).items()))
        said = _metadata(contents[TENSORS]).get(DIGEST)
    except (ValueError, KeyError, OSError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"the LoRA in '{source}' is damaged: {error}.") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"'{source / CONFIG}' is damaged: it holds no JSON object.")
    if said is not None and said != content_digest(config, tensors):
        raise CheckpointError(
            f"the LoRA in '{source}' is damaged, or was changed after posterior.export_peft wrote it: write it anew. If the "
            f"change is meant, save the tensors again without the entry {DIGEST} in their metadata."
        )
    return config, tensors, {name: file_digest(content) for name, content in contents.items()}


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a file of safetensors that could be read: its header's length, 8 bytes, comes before that."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.get("__metadata__") or {}


def content_digest(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of all in a LoRA that its change of the network depends on.

    peft writes none, and leaves that of an export of ours in the tensors' metadata as it is.
    """
    settings = {name: config.get(name) for name in _SCALES}
    parts = {name: digest(value) for name, value in tensors.items()}
    return hashlib.sha256(json.dumps([settings, parts], sort_keys=True).encode()).hexdigest()


def _check_config(config: dict[str, Any]) -> None:
    kind, bias, init = config.get("peft_type"), config.get("bias", "none"), config.get("init_lora_weights", True)
    if kind != "LORA":
        raise CheckpointError(f"peft_type={kind!r} can't be read, only 'LORA'; {_MERGE}.")
    if bias != "none":
        raise CheckpointError(f"bias={bias!r}: this LoRA comes with changed biases of the base; {_MERGE}.")
    if init not in _PLAIN_INITS:
        raise CheckpointError(
            f"init_lora_weights={init!r} changes the base weights too; convert it in peft (save_pretrained with "
            f"path_initial_model_for_weight_conversion), or {_MERGE}."
        )
    if not isinstance(config.get("use_rslora", False), bool | None):
        raise CheckpointError(f"use_rslora={config['use_rslora']!r:.40} must be true or false: the file was changed.")
    for name, value in config.items():
        if value and name not in _KNOWN.split():
            raise CheckpointError(f"{name}={value!r} is more than a plain LoRA; {_MERGE}.")


def _check_layer(name: str, layers: Mapping[str, Layer], model: nn.Module, config: dict[str, Any]) -> None:
    if name in layers:
        return
    module = dict(model.named_modules()).get(name)
    if module is not None:
        raise CheckpointError(
            f"layer '{name}' is a {type(module).__name__}, but only linear layers are adapted; {_MERGE}."
        )
    raise CheckpointError(
        f"the LoRA adapts layer '{name}', which {type(model).__name__} lacks; load the base that it was trained on "
        f"({config.get('base_model_name_or_path') or 'not named'})."
    )


def _by_pattern(patterns: Mapping[str, Any] | None, name: str, default: Any) -> Any:
    """Return what the first pattern that matches the last parts of a layer's name maps to, as peft has it; else `default`."""
    if not isinstance(patterns or {}, Mapping):
        raise CheckpointError(f"rank_pattern or alpha_pattern is {patterns!r:.40}: a table of layers is expected.")
    try:
        return next((value for key, value in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", name)), default)
    except re.error as error:
        raise CheckpointError(f"rank_pattern or alpha_pattern holds no regular expression: {error}.") from None


def _pair(halves: Mapping[str, Tensor], layer: Layer, config: dict[str, Any]) -> LoraPair:
    r = _by_pattern(config.get("rank_pattern"), layer.name, config.get("r", 8))
    alpha = _by_pattern(config.get("alpha_pattern"), layer.name, config.get("lora_alpha", 8))
    if type(alpha) not in (int, float) or not 0 < alpha < 1e30:
        raise CheckpointError(f"layer '{layer.name}': lora_alpha={alpha!r:.40} must be a positive number.")
    if type(r) is not int or r < 1:
        raise CheckpointError(f"layer '{layer.name}': r={r!r:.40} must be a whole number from 1 on.")
    for half, shape in (("A", (r, layer.in_features)), ("B", (layer.out_features, r))):
        if half not in halves:
            raise CheckpointError(f"layer '{layer.name}': the file lacks lora_{half}.weight.")
        if tuple(halves[half].shape) != shape:
            raise CheckpointError(
                f"layer '{layer.name}': lora_{half} has shape {tuple(halves[half].shape)}, rank {r} on this network needs "
                f"{shape}; load the base that it was trained on."
            )
    a, b = halves["A"], halves["B"]
    # Bits that stand for one kind of number are other numbers when they are read as another; peft stores both halves alike.
    if a.dtype != b.dtype or a.dtype not in _DTYPES:
        raise CheckpointError(
            f"layer '{layer.name}': lora_A holds {a.dtype} and lora_B {b.dtype}, and both are to hold one of "
            f"{', '.join(map(str, _DTYPES))}: the file was changed; write it anew (save_pretrained)."
        )
    return LoraPair(a.float(), b.float(), float(alpha) * (r**0.5 if config.get("use_rslora") else 1.0))


def _whole_layers(
    tensors: Mapping[str, Tensor], layers: Mapping[str, Layer], model: nn.Module
) -> dict[str, dict[str, Tensor]]:
    own = model.state_dict()
    changed: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name not in own or own[name].shape != value.shape:
            found = f"has shape {tuple(own[name].shape)}" if name in own else "is missing"
            raise CheckpointError(
                f"the file holds '{name}' of shape {tuple(value.shape)}, which {found} in this network; load the base with "
                "the same num_labels and vocabulary."
            )
        if value.is_floating_point() != own[name].is_floating_point() or value.is_complex():
            raise CheckpointError(
                f"the file holds '{name}' as {value.dtype}, and this network as {own[name].dtype}: the file was changed, or "
                "belongs to another base; write it anew (save_pretrained)."
            )
        if torch.equal(value.to(own[name]), own[name]):
            continue
        layer = name.rpartition(".")[0]
        if layer not in layers:
            raise CheckpointError(
                f"'{name}' was trained too, but belongs to no linear layer; load it into the network first "
                "(model.load_state_dict)."
            )
        changed[layer] = {}
    for layer in changed:
        for factor, part in layer_parts(layers[layer]):
            if f"{layer}.{part}" not in tensors:
                raise CheckpointError(f"layer '{layer}' was saved whole, but the file lacks its {part}.")
            changed[layer][factor] = turned(tensors[f"{layer}.{part}"].float(), layers[layer])
    return changed


def layer_parts(layer: Layer) -> Iterator[tuple[str, str]]:
    """Name the factors of `Full`, and the layer's own tensors."""
    yield "W", "weight"
    if layer.bias() is not None:
        yield "b", "bias"


def turned(value: Tensor, layer: Layer) -> Tensor:
    """Return a layer's tensor with its weight (out, in), or such a tensor as the layer stores it."""
    return value.t() if layer.kind == "conv1d" and value.dim() == 2 else value
