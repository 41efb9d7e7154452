"""From placements to stacks: the factors of every adapter, under the method's priors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from bayespeft.adapters.attach import Placement
from bayespeft.layers.factors import Factor, Role, StackedFactor, stack_factors
from bayespeft.methods.base import Method
from bayespeft.priors.base import Prior


def make_stacks(placements: Sequence[Placement], method: Method, generator: torch.Generator) -> list[StackedFactor]:
    """Return the stacks of all placements, at their start, under the method's priors."""
    return stacked([(p, p.adapter.factors(p.layer, generator)) for p in placements], method)


@dataclass(frozen=True, slots=True)
class Restacking:
    """The same adapters on the same layers under the same priors, begun again.

    Attributes:
        placements: which adapter sits on which layer.
        method: whose priors these are.
    """

    placements: Sequence[Placement]
    method: Method

    def stacks(self, seed: int) -> list[StackedFactor]:
        """Return the stacks at other initial values, which a seed decides."""
        return make_stacks(self.placements, self.method, torch.Generator().manual_seed(seed))


def blank_stacks(placements: Sequence[Placement], method: Method, generator: torch.Generator) -> list[StackedFactor]:
    """Return stacks as `make_stacks` does, of any values where an adapter decomposes: a file is read into them."""
    return stacked([(p, p.adapter.blank(p.layer, generator)) for p in placements], method)


def stacked(placed: Iterable[tuple[Placement, Mapping[str, Factor]]], method: Method) -> list[StackedFactor]:
    """Return stacks of the factors of each placement, by name, under the method's priors."""
    priors: Mapping[Role, Prior] = {
        "latent": method.latent_prior,
        "point": method.point_prior,
        "fixed": method.point_prior,
        "head": method.head_prior,
    }
    return stack_factors({p.layer.name: _of_head(factors) if p.head else factors for p, factors in placed}, priors)


def _of_head(factors: Mapping[str, Factor]) -> dict[str, Factor]:
    """Return the factors of a fresh head, which has no pretrained value to be believed in: its prior is centered at zero."""
    return {
        name: factor if factor.role == "fixed" else replace(factor, role="head", center=None)
        for name, factor in factors.items()
    }
