"""Every guide, in each of the noise modes that methods give it, takes every adapter, or says why not."""

from __future__ import annotations

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.errors import GuideError
from bayespeft.layers.factors import stack_factors
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Shared
from bayespeft.methods.base import Method
from bayespeft.priors import Normal
from bayespeft.testing.adapters import an_input, applied
from bayespeft.testing.fits import quick
from bayespeft.variational.noise import spread
from tests.contracts.test_adapters import adapter_of


def distinct() -> dict[str, Method]:
    """The first method of each guide and noise mode, by these."""
    found: dict[str, Method] = {}
    for name in registry.names("methods"):
        method = registry.get("methods", name)
        if not method.temperature:
            found.setdefault(f"{method.guide.kind}-{method.guide.noise}", method)
    return found


GUIDES = distinct()


def refused(method: Method, adapter, mlp) -> str | None:
    """The reason for which a fit is to be refused, as a pattern."""
    guide, layer = method.guide, all_layers(mlp)["0"]
    factors = adapter.factors(layer, torch.Generator())
    roles = {factor.role for factor in factors.values()}
    # The network has no head of its own.
    covered = {"latent": "latent" in roles, "trained": True, "adapter": True, "head": False}[guide.covers]
    if guide.stochastic and not covered:
        return "nothing to be uncertain about"
    if guide.needs and dict(guide.needs) != {name: f.role for name, f in factors.items()}:
        return "needs an adapter with the factors"
    if adapter.merge_interval(1) is not None and not guide.restarts:
        return "merges into the weights"
    if guide.covers == "latent" and guide.stochastic:
        weights = {
            name: spread(guide.noise, torch.stack([f.init[None]] * 2), f.init[None], 0, 2)
            if f.role == "latent" and guide.noise == "example"
            else spread(guide.noise, f.init[None], f.init[None], 0, 2)
            if f.role == "latent"
            else Shared(f.init)
            for name, f in factors.items()
        }
        return "noise='example' or noise='batch'" if applied(adapter, weights, *an_input(layer, 2), layer)[1] else None
    return None


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("adapter", registry.names("adapters"))
def test_every_guide_takes_every_adapter(guide, adapter, mlp, xy):
    method = quick(GUIDES[guide]).replace(adapter=adapter_of(adapter))
    options = {
        "targets": "all-linear",
        "train": TrainConfig(steps=3),  # as many as the network has layers: one may take them in turn
        "progress": False,
    }
    reason = refused(method, method.adapter, mlp)
    if reason is not None:
        with pytest.raises(GuideError, match=reason):
            bayespeft.fit(mlp, xy, method, **options)
        return
    posterior = bayespeft.fit(mlp, xy, method, **options)
    assert posterior.predict(xy, draws=2).probs.shape == (60, 3)


def test_stacks_of_different_roles_do_not_collide(bert):
    layers = all_layers(bert)
    factors = {
        name: registry.get("adapters", "full")().factors(layers[name], torch.Generator())
        for name in ("classifier", "bert.pooler.dense")
    }
    stacks = stack_factors(factors, dict.fromkeys(("latent", "point", "head", "fixed"), Normal(scale=1.0)))
    assert len({p.name for p in stacks}) == len(stacks) == 4
