"""From placements to packs: the factors of every adapter, under the method's priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from bayespeft.adapters.attach import Placement
from bayespeft.layers.factors import Factor, Pack, Role, pack
from bayespeft.methods.base import Method
from bayespeft.priors.base import Prior


def make_packs(
    placements: Sequence[Placement], heads: set[str], method: Method, generator: torch.Generator
) -> list[Pack]:
    """Return the packs of all placements, at their start; those in `heads` are heads."""
    return packed({p.site.name: p.adapter.factors(p.site, generator) for p in placements}, heads, method)


def blank_packs(
    placements: Sequence[Placement], heads: set[str], method: Method, generator: torch.Generator
) -> list[Pack]:
    """Return packs as `make_packs` does, of any values where an adapter decomposes: a file is read into them."""
    return packed({p.site.name: p.adapter.blank(p.site, generator) for p in placements}, heads, method)


def packed(factors: Mapping[str, Mapping[str, Factor]], heads: set[str], method: Method) -> list[Pack]:
    """Return packs of factors, site -> name -> factor, under the method's priors; the sites in `heads` are heads."""
    priors: Mapping[Role, Prior] = {
        "latent": method.latent_prior,
        "point": method.point_prior,
        "fixed": method.point_prior,
        "head": method.head_prior,
    }
    # A fresh head has no pretrained value to be believed in: its prior is centered at zero.
    fresh = {
        site: {
            name: factor if factor.role == "fixed" else replace(factor, role="head", center=None)
            for name, factor in factors[site].items()
        }
        for site in factors.keys() & heads
    }
    return pack({**factors, **fresh}, priors)
