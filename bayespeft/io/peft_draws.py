"""Writes draws of a posterior as LoRAs side by side, for servers of many adapters, and a manifest that says how to average.

Each is a plain LoRA: one rank for all layers, its scale inside B, so that servers which know neither patterns nor scales of
single layers (as vLLM before it read rank_pattern) run it too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import LayerWeights, Placement
from bayespeft.errors import ConfigError
from bayespeft.io.directory import replacing
from bayespeft.io.peft import CONFIG
from bayespeft.io.peft_export import LoraParts, lora_parts, warn_of_base, write_parts
from bayespeft.layers.merged import Merged
from bayespeft.utils.warned import warn

MANIFEST = "draws.json"


def write_draws(
    directory: str | os.PathLike[str],
    model: nn.Module,
    placements: Sequence[Placement],
    draws: Iterable[LayerWeights],
    merged: Merged | None = None,
    *,
    facts: Mapping[str, Any],
    head: bool = True,
    rank: int | None = None,
) -> None:
    """Write each draw as a LoRA in a folder of its own, `draw-0`, `draw-1`, ..., and `draws.json` beside them.

    Args:
        directory: new, empty, or with an earlier export, which is replaced; it is written whole or not at all.
        model, placements, merged: as for `write_lora`.
        draws: one network each.
        facts: for the manifest: how the draws came about.
        head: write freshly made layers, too; without them a server needs them in its base.
        rank: cap the rank: the nearest change of that rank in the Frobenius norm takes a layer's place, and a warning and the
            manifest state the error.

    Raises:
        ConfigError: `rank` is below 1. CheckpointError: as `write_lora`.
    """
    if rank is not None and rank < 1:
        raise ConfigError(f"rank={rank}: at least 1, or None for what the adapters have.")
    names: list[str] = []
    worst = (0.0, "")
    largest = 0
    with replacing(directory, (MANIFEST, *_earlier(Path(directory))), "draws as LoRAs of peft") as fresh:
        for number, weights in enumerate(draws):
            parts = lora_parts(placements, weights, merged)
            if not number:
                warn_of_base(model, placements, parts)
            pairs, errors = _alike(parts.pairs, rank)
            largest = len(next(iter(pairs.values()))[0])
            worst = max(worst, max((error, layer) for layer, error in errors.items()))
            names.append(f"draw-{number}")
            (fresh / names[-1]).mkdir()
            write_parts(fresh / names[-1], model, placements, LoraParts(pairs, parts.trained if head else {}))
        manifest = {
            "adapters": names,
            "average": "probabilities",
            "rank": largest,
            "rank_error": worst[0],
            "head": head and any(p.head for p in placements),
            **facts,
        }
        text = json.dumps(manifest, indent=2, allow_nan=False, ensure_ascii=False)
        (fresh / MANIFEST).write_text(text + "\n", encoding="utf-8")
    if worst[0] > 0:
        warn(
            f"the change of layer '{worst[1]}' lost {100 * worst[0]:.3g} % of its Frobenius norm in one of the draws, the most "
            f"of all layers, since rank={rank} is less than it has: predictions differ from the posterior's.",
        )


def _earlier(directory: Path) -> list[str]:
    """Return the folders of an earlier export."""
    if not directory.is_dir():
        return []
    return [p.name for p in directory.iterdir() if re.fullmatch(r"draw-\d+", p.name) and (p / CONFIG).is_file()]


def _alike(
    pairs: Mapping[str, tuple[Tensor, Tensor, float]], rank: int | None
) -> tuple[dict[str, tuple[Tensor, Tensor, float]], dict[str, float]]:
    """Return pairs of one rank and of scale 1, and each layer's relative error."""
    found = {
        name: _capped(a.detach().float(), scale * b.detach().float(), rank) for name, (a, b, scale) in pairs.items()
    }
    most = max(len(a) for a, _, _ in found.values())
    padded = {}
    for name, (a, b, _) in found.items():
        missing = most - len(a)
        padded[name] = (
            torch.cat([a, a.new_zeros(missing, a.shape[1])]),
            torch.cat([b, b.new_zeros(len(b), missing)], 1),
            1.0,
        )
    return padded, {name: error for name, (_, _, error) in found.items()}


def _capped(a: Tensor, b: Tensor, rank: int | None) -> tuple[Tensor, Tensor, float]:
    """Return factors of the nearest change of at most that rank, and its relative error in the Frobenius norm."""
    if rank is None or len(a) <= rank:
        return a, b, 0.0
    left, first = torch.linalg.qr(b.double())
    right, second = torch.linalg.qr(a.double().t())
    u, values, v = torch.linalg.svd(first @ second.t())
    root = values[:rank].sqrt()
    whole = float(values.square().sum())
    lost = float(values[rank:].square().sum())
    cut_a, cut_b = root[:, None] * (v[:rank] @ right.t()), (left @ u[:, :rank]) * root
    # What is left out of a change of that rank is rounding.
    error = (lost / whole) ** 0.5 if lost > 1e-12 * whole else 0.0
    return cut_a.to(a), cut_b.to(b), error
