"""Pruning by signal to noise: of the random non-zeros of sparse matrices, keep those that are surest to differ from zero.

Graves 2011 (Practical variational inference for neural networks), Blundell et al. 2015, arXiv 1505.05424, section 5.4: the
elements are ranked by |mean| / std over all layers together. What is dropped is gone, positions and all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bayespeft.adapters.attach import Placement
from bayespeft.adapters.sparse_low_rank import SparseLowRank, top_positions
from bayespeft.errors import ConfigError, GuideError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.mean_field import MeanFieldGuide
from bayespeft.layers.factors import Factor, Role, StackedFactor, stack_factors
from bayespeft.priors.base import Prior
from bayespeft.variational.joint_guide import JointGuide

# The factors of a sparse matrix: its non-zeros and where they are.
_SPARSE = ("values", "index")


@torch.no_grad()
def prune(
    joint_guide: JointGuide, placements: Sequence[Placement], guide: GuideSpec, keep: float
) -> tuple[JointGuide, tuple[Placement, ...]]:
    """Return a joint guide that keeps the fraction `keep` of all random sparse values, at least one a layer.

    Args:
        joint_guide: q, mean field over the sparse values. It stays as it is.
        placements: the adapted layers.
        guide: the settings of its guide.
        keep: in (0, 1]; round(keep k) of the k values of all layers together are kept.

    Returns:
        The smaller joint guide, and the placements with each layer's new density.

    Raises:
        ConfigError: `keep` is out of range, or no adapter has sparse values. GuideError: these have no spread of their own.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"keep={keep}: the fraction of sparse values to keep, above 0 and at most 1.")
    ratios = _signal_to_noise(joint_guide)
    kept = _kept(ratios, keep)
    smaller = tuple(_with_density(placement, kept) for placement in placements)
    stacks = _stacks(joint_guide, smaller, kept)
    device = next(joint_guide.parameters()).device
    pruned = JointGuide(stacks, guide, torch.Generator().manual_seed(0), device)
    before = _rows(joint_guide.stacks, joint_guide.state_dict())
    for key, tensor in pruned.state_dict().items():
        part, _, name = key.rpartition(".")
        for new in stacks:
            if new.name == name:
                rows = [_selected(before[part, layer, new.factor], layer, new.factor, kept) for layer in new.owners]
                tensor.copy_(torch.stack(rows))
    return pruned, smaller


def _signal_to_noise(joint_guide: JointGuide) -> dict[str, Tensor]:
    """|mean| / std of the sparse values of each layer (k,)."""
    stacks = [p for p in joint_guide.stacks if p.factor == "values" and p.role != "head"]
    if not stacks:
        raise ConfigError("no adapter of this posterior has sparse values: only 'sparse_low_rank' can be pruned.")
    guide = joint_guide.latent
    if not isinstance(guide, MeanFieldGuide) or not all(p.name in joint_guide.random for p in stacks):
        raise GuideError(
            f"{type(guide).__name__} gives the sparse values no independent standard deviations to prune by: fit "
            "'sparse_low_rank' with latent=('values',) and guide 'mean_field', as method 'bayes_rosa' does."
        )
    means, std = guide.mean(), guide.std()
    return {
        layer: (means[p.name][row].abs() / std[p.name][row]).detach() for p in stacks for layer, row in p.rows.items()
    }


def _kept(ratios: Mapping[str, Tensor], keep: float) -> dict[str, Tensor]:
    """Which of each layer's values are kept, ascending; of equal ratios those of earlier layers and positions."""
    flat = torch.cat(list(ratios.values()))
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[top_positions(flat, max(1, round(keep * len(flat))))] = True
    parts = torch.split(chosen, [len(ratio) for ratio in ratios.values()])
    return {
        layer: part.nonzero()[:, 0] if part.any() else top_positions(ratio, 1)
        for (layer, ratio), part in zip(ratios.items(), parts, strict=True)
    }


def _with_density(placement: Placement, kept: Mapping[str, Tensor]) -> Placement:
    layer, adapter = placement.layer, placement.adapter
    if layer.name not in kept or not isinstance(adapter, SparseLowRank):
        return placement
    density = len(kept[layer.name]) / (layer.out_features * layer.in_features)
    return replace(placement, adapter=adapter.replace(density=density))


def _stacks(
    joint_guide: JointGuide, placements: Sequence[Placement], kept: Mapping[str, Tensor]
) -> list[StackedFactor]:
    """Stack the means and positions that are left, in the order in which loading makes stacks."""
    owners = {(layer, p.factor): p for p in joint_guide.stacks for layer in p.layers}
    priors: dict[Role, Prior] = {p.role: p.prior for p in joint_guide.stacks}
    values = joint_guide.by_layer()
    centers = {p.name: joint_guide.get_buffer(f"center_{p.name}") for p in joint_guide.stacks}
    factors: dict[str, dict[str, Factor]] = {}
    for placement in placements:
        name = placement.layer.name
        factors[name] = {}
        for factor in placement.adapter.factors(placement.layer, torch.Generator().manual_seed(0)):
            old = owners[name, factor]
            init = _selected(values[name][factor], name, factor, kept)
            center = _selected(centers[old.name][old.rows[name]], name, factor, kept)
            factors[name][factor] = Factor(init, old.role, center, old.shared)
    return stack_factors(factors, priors)


def _rows(stacks: Sequence[StackedFactor], state: Mapping[str, Tensor]) -> dict[tuple[str, str, str], Tensor]:
    """(part of the joint guide, layer, factor) -> its row of a state."""
    by_name = {p.name: p for p in stacks}
    return {
        (key.rpartition(".")[0], layer, by_name[name].factor): tensor[row]
        for key, tensor in state.items()
        if (name := key.rpartition(".")[2]) in by_name
        for layer, row in by_name[name].rows.items()
    }


def _selected(value: Tensor, layer: str, factor: str, kept: Mapping[str, Tensor]) -> Tensor:
    return value[kept[layer]] if factor in _SPARSE and layer in kept else value
