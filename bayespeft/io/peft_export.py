"""Writes adapters in peft's format: see `bayespeft.io.peft`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bayespeft.adapters.attach import LayerWeights, Placement
from bayespeft.adapters.full import Full
from bayespeft.errors import CheckpointError
from bayespeft.io.directory import replacing
from bayespeft.io.peft import CONFIG, DIGEST, PREFIX, TENSORS, content_digest, layer_parts, turned
from bayespeft.layers.heads import find_head
from bayespeft.layers.merged import Merged, tied
from bayespeft.layers.weights import plain
from bayespeft.networks.configuration import name_of
from bayespeft.networks.embeddings import fresh_rows
from bayespeft.utils.warned import warn

# The last part of a network's class name -> peft's name for its task.
_TASKS = {"SequenceClassification": "SEQ_CLS", "CausalLM": "CAUSAL_LM", "LMHeadModel": "CAUSAL_LM"}


@dataclass(frozen=True)
class LoraParts:
    """One draw of every adapter as peft has it.

    Attributes:
        pairs: layer -> A (r, in), B (out, r) and the scale of B A.
        trained: name of a tensor of the network -> what was trained in its place.
    """

    pairs: Mapping[str, tuple[Tensor, Tensor, float]]
    trained: Mapping[str, Tensor]


def write_lora(
    directory: str | os.PathLike[str],
    model: nn.Module,
    placements: Sequence[Placement],
    weights: LayerWeights,
    merged: Merged | None = None,
) -> None:
    """Write one draw of every adapter as a directory that `peft.PeftModel.from_pretrained` loads onto the same base.

    Args:
        directory: new, empty, or with an earlier export, which is replaced; it is written whole or not at all.
        model: the base network.
        placements: where adapters sit; an adapter without an exact low-rank form is refused, unless it is `Full`, which
            goes under modules_to_save.
        weights: the draw, shared by all rows.
        merged: what was merged into the base before, which becomes part of the LoRA.

    Raises:
        CheckpointError: an adapter's change is not exactly a LoRA, more was merged than a LoRA can hold, or the directory
            holds something else.
    """
    parts = lora_parts(placements, weights, merged)
    warn_of_base(model, placements, parts)
    with replacing(directory, (CONFIG, TENSORS), "a LoRA of peft") as fresh:
        write_parts(fresh, model, placements, parts)


def lora_parts(placements: Sequence[Placement], weights: LayerWeights, merged: Merged | None = None) -> LoraParts:
    """Return a draw as peft has it; arguments and errors as `write_lora`."""
    pairs: dict[str, tuple[Tensor, Tensor, float]] = {}
    trained: dict[str, Tensor] = {}
    for placement in placements:
        layer, adapter = placement.layer, placement.adapter
        values = plain(weights[layer.name])
        if isinstance(adapter, Full):
            whole = adapter.layer(values)
            trained |= {f"{layer.name}.{part}": turned(whole[factor], layer) for factor, part in layer_parts(layer)}
            continue
        low_rank = adapter.to_lora(values, layer)
        if low_rank is None:
            raise CheckpointError(
                f"layer '{layer.name}': the change that adapter '{adapter.kind}' makes can't be written as a LoRA exactly, so "
                "peft can't hold it; save it with posterior.save."
            )
        a, b, scale = low_rank
        if merged is not None and layer.name in merged.changes:
            a, b, scale = _with_history(layer.name, merged, a, scale * b)
        pairs[layer.name] = a, b, scale
    if not pairs:
        raise CheckpointError("no layer has a low-rank change, so this is no LoRA; save it with posterior.save.")
    return LoraParts(pairs, trained)


def write_parts(folder: Path, model: nn.Module, placements: Sequence[Placement], parts: LoraParts) -> None:
    """Write a draw into a folder that is there: peft's two files."""
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, tuple[int, float]] = {}
    for name, (a, b, scale) in parts.pairs.items():
        ranks[name] = len(a), scale * len(a)
        tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
    heads = {layer.name for layer in find_head(model)}
    standard = heads.isdisjoint(ranks)
    modules = {name.split(".")[0] if standard and name in heads else name for name in map(_layer, parts.trained)}
    for name, value in model.state_dict().items():
        if any(name.startswith(f"{module}.") for module in modules):
            # peft saves modules whole, with the parts that were not trained.
            tensors[name] = parts.trained.get(name, value)
    config = {
        "peft_type": "LORA",
        # With a task type peft wraps the whole head, which must then have no LoRA inside, and be there.
        "task_type": _task(model) if standard and (modules or not heads) else None,
        "base_model_name_or_path": name_of(model) or None,
        "bias": "none",
        "fan_in_fan_out": any(p.layer.kind == "conv1d" for p in placements if p.layer.name in ranks),
        "inference_mode": True,
        "lora_dropout": 0.0,
        "target_modules": list(ranks),
        "modules_to_save": sorted(modules) or None,
        **_ranks(ranks),
    }
    # Clones: layers of one stack share memory, which safetensors refuses.
    copies = {PREFIX + name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(copies, folder / TENSORS, metadata={"format": "pt", DIGEST: content_digest(config, copies)})
    (folder / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def warn_of_base(model: nn.Module, placements: Sequence[Placement], parts: LoraParts) -> None:
    """Warn of what a LoRA of this network can't say: shared weights, and rows that were added to the embedding."""
    for name, other in tied(model, [p.layer for p in placements if p.layer.name in parts.pairs]).items():
        warn(
            f"layer '{name}' shares its weight with '{other}', and its LoRA is of '{name}' alone: use it in peft unmerged, "
            "since merge_and_unload() would change both. For a LoRA that can be merged, fit without that layer in targets=.",
        )
    rows = fresh_rows(model)
    if rows:
        warn(
            f"the last {rows} rows of the network's embedding look as resize_token_embeddings makes them, and a LoRA holds no "
            "embeddings: it belongs to a base with these very rows. Save that base, too (model.save_pretrained), or write the "
            "whole network with posterior.export_merged.",
        )


def _with_history(name: str, merged: Merged, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return A, B and the scale of all that was merged into a layer and the change that was not."""
    known = merged.low_rank(name)
    if known is None:
        raise CheckpointError(
            f"layer '{name}': so much was merged into it that its low-rank history was given up; write the whole network "
            "with posterior.export_merged."
        )
    left, right = (part.to(a) for part in known)
    return torch.cat([right, a]), torch.cat([left, b], dim=1), 1.0


def _task(model: nn.Module) -> str | None:
    network = type(model).__name__
    return next((task for ending, task in _TASKS.items() if network.endswith(ending)), None)


def _layer(tensor: str) -> str:
    return tensor.rpartition(".")[0]


def _ranks(pairs: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """Return r and lora_alpha, and patterns with every layer where layers differ.

    Longest names first: peft takes the first pattern that matches the last parts of a name.
    """
    r, alpha = Counter(pairs.values()).most_common(1)[0][0]
    layers = sorted(pairs, key=len, reverse=True) if len(set(pairs.values())) > 1 else []
    return {
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": {name: pairs[name][0] for name in layers},
        "alpha_pattern": {name: pairs[name][1] for name in layers},
    }
