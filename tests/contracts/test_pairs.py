"""Every guide, in each of the noise modes that methods give it, takes all that adapters bring, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.errors import GuideError
from bayespeft.layers.factors import Factor, stack_factors
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Shared
from bayespeft.methods.base import Method
from bayespeft.priors import Normal
from bayespeft.testing import networks
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


@cache
def factors_of(adapter: str) -> Mapping[str, Factor]:
    return adapter_of(adapter).factors(all_layers(networks.mlp())["0"], torch.Generator())


def brings(adapter: str) -> frozenset[object]:
    """What a guide sees of an adapter: kinds of stacks, whether several are random, and when they are asked for anew."""
    one, factors = adapter_of(adapter), factors_of(adapter).values()
    found: set[object] = {(f.role, f.init.dim(), f.shared) for f in factors if f.role != "fixed"}
    several = sum(factor.role == "latent" for factor in factors) > 1
    found |= {"several"} if several else set()
    found |= {"merges"} if one.merge_interval(1) is not None else set()
    return frozenset(found | ({"warm-up"} if one.warm_up() is not None else set()))


def refused(guide: str, adapter: str) -> str | None:
    """The reason for which a fit is to be refused, as a pattern."""
    spec, one, factors = GUIDES[guide].guide, adapter_of(adapter), factors_of(adapter)
    layer = all_layers(networks.mlp())["0"]
    roles = {factor.role for factor in factors.values()}
    # The network has no head of its own.
    covered = {"latent": "latent" in roles, "trained": True, "adapter": True, "head": False}[spec.covers]
    if spec.stochastic and not covered:
        return "nothing to be uncertain about"
    if spec.needs and dict(spec.needs) != {name: f.role for name, f in factors.items()}:
        return "needs an adapter with the factors"
    if one.merge_interval(1) is not None and not spec.restarts:
        return "merges into the weights"
    if spec.covers == "latent" and spec.stochastic:
        weights = {
            name: spread(spec.noise, torch.stack([f.init[None]] * 2), f.init[None], 0, 2)
            if f.role == "latent" and spec.noise == "example"
            else spread(spec.noise, f.init[None], f.init[None], 0, 2)
            if f.role == "latent"
            else Shared(f.init)
            for name, f in factors.items()
        }
        return "noise='example' or noise='batch'" if applied(one, weights, *an_input(layer, 2), layer)[1] else None
    return None


REASONS = {(guide, adapter): refused(guide, adapter) for guide in GUIDES for adapter in registry.names("adapters")}
REFUSED = [(guide, adapter, reason) for (guide, adapter), reason in REASONS.items() if reason is not None]


def enough(guide: str) -> list[str]:
    """Return adapters which together bring a guide all that those which it takes could bring it.

    What an adapter does with its values, in each noise mode, is its own contract.
    """
    taken = [adapter for adapter in registry.names("adapters") if REASONS[guide, adapter] is None]
    left, found = set().union(*map(brings, taken)), []
    while left:
        found.append(max(taken, key=lambda adapter: len(brings(adapter) & left)))
        left -= brings(found[-1])
    return found


def fit(guide: str, adapter: str) -> bayespeft.Posterior:
    method = quick(GUIDES[guide]).replace(adapter=adapter_of(adapter))
    # As many steps as the network has layers: an adapter may take them in turn.
    train = TrainConfig(steps=3)
    return bayespeft.fit(networks.mlp(), networks.xy(), method, targets="all-linear", train=train, progress=False)


@pytest.mark.parametrize(("guide", "adapter"), [(guide, adapter) for guide in GUIDES for adapter in enough(guide)])
def test_every_guide_takes_all_that_adapters_bring(guide, adapter):
    assert fit(guide, adapter).predict(networks.xy(), draws=2).probs.shape == (60, 3)


@pytest.mark.parametrize(("guide", "adapter", "reason"), REFUSED)
def test_what_a_guide_cannot_take_is_refused_with_the_reason(guide, adapter, reason):
    with pytest.raises(GuideError, match=reason):
        fit(guide, adapter)


def test_stacks_of_different_roles_do_not_collide(bert):
    layers = all_layers(bert)
    factors = {
        name: registry.get("adapters", "full")().factors(layers[name], torch.Generator())
        for name in ("classifier", "bert.pooler.dense")
    }
    stacks = stack_factors(factors, dict.fromkeys(("latent", "point", "head", "fixed"), Normal(scale=1.0)))
    assert len({p.name for p in stacks}) == len(stacks) == 4
