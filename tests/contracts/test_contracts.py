"""What every registered adapter, guide and method owes the house. A new file in a room is tested the day it appears."""

from __future__ import annotations

import copy
import json
from typing import get_args

import pytest
import torch
from torch.distributions import kl_divergence

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.base import Adapter
from bayespeft.errors import ConfigError, GuideError
from bayespeft.guides.base import GuideSpec
from bayespeft.layers.factors import Pack, pack
from bayespeft.layers.sites import all_sites
from bayespeft.layers.weights import Grouped, Shared
from bayespeft.methods.base import Method
from bayespeft.priors.base import Prior
from bayespeft.priors.normal import Normal
from bayespeft.variational.kl import check_kl

ADAPTERS, GUIDES = registry.names("adapters"), registry.names("guides")
METHODS, PRIORS = registry.names("methods"), registry.names("priors")


def adapter_of(name: str) -> Adapter:
    """With a rank that the smallest layer of the test networks has."""
    cls = registry.get("adapters", name)
    options = {"r": 3, "unit": "steps"}  # an adapter that merges does so after the first step
    return cls(**{field: value for field, value in options.items() if field in cls.model_fields})


def latent_adapter_of(name: str) -> Adapter:
    """With everything latent that can be."""
    adapter = adapter_of(name)
    field = type(adapter).model_fields.get("latent")
    return adapter if field is None else adapter.replace(latent=get_args(get_args(field.annotation)[0]))


def random_values(adapter: Adapter, site, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    factors = adapter.factors(site, generator)
    return {
        name: factor.init + torch.randn(factor.init.shape, generator=generator)
        if factor.init.is_floating_point()
        else factor.init  # positions are no quantities
        for name, factor in factors.items()
    }


@pytest.fixture(params=["linear", "conv1d"])
def site(request, gpt2, llama):
    """One linear layer of each kind, with and without bias."""
    if request.param == "conv1d":
        return all_sites(gpt2)["transformer.h.0.attn.c_attn"]
    return all_sites(llama)["model.layers.0.mlp.down_proj"]


@pytest.mark.parametrize("name", ADAPTERS)
class TestAdapter:
    def test_starts_as_the_base(self, name, site):
        adapter = adapter_of(name)
        factors = adapter.factors(site, torch.Generator().manual_seed(0))
        x = torch.randn(4, 3, site.in_features)
        y = site.module(x)
        found = adapter.apply({k: Shared(f.init) for k, f in factors.items()}, x, y, site)
        torch.testing.assert_close(found, y, atol=1e-5, rtol=1e-4)

    def test_apply_is_the_dense_delta(self, name, site):
        adapter = adapter_of(name)
        values = random_values(adapter, site, 1)
        if name in ("full", "head") and "b" in values:  # delta speaks of the weight only
            values["b"] = values["b"] + site.bias() - adapter.layer(values)["b"]
        elif name == "head":
            values["mean"].zero_()  # a layer without a bias has no place for it
        x = torch.randn(4, 3, site.in_features)
        y = site.module(x)
        found = adapter.apply({k: Shared(v) for k, v in values.items()}, x, y, site)
        torch.testing.assert_close(found, y + x @ adapter.delta(values, site).T, atol=1e-2, rtol=1e-3)
        assert adapter.delta(values, site).shape == (site.out_features, site.in_features)

    def test_lora_form_is_the_dense_delta(self, name, site):
        adapter = adapter_of(name)
        values = {k: value.double() for k, value in random_values(adapter, site, 1).items()}
        lora = adapter.to_lora(values, site)
        if lora is not None:
            a, b, scale = lora
            assert a.shape[0] == b.shape[1]
            torch.testing.assert_close(scale * b @ a, adapter.delta(values, site))

    def test_latents_can_be_grouped_by_example(self, name, site):
        adapter = latent_adapter_of(name)
        factors = adapter.factors(site, torch.Generator().manual_seed(0))
        draws = [random_values(adapter, site, seed) for seed in (1, 2)]
        x = torch.randn(4, 3, site.in_features)
        y = site.module(x)
        latent = {k for k, f in factors.items() if f.role == "latent"}
        folded = {
            k: Grouped(torch.stack([d[k] for d in draws])) if k in latent else Shared(draws[0][k]) for k in factors
        }
        found = adapter.apply(folded, x, y, site)
        for i, draw in enumerate(draws):
            rows = slice(2 * i, 2 * i + 2)
            single = {k: Shared(draw[k] if k in latent else draws[0][k]) for k in factors}
            torch.testing.assert_close(found[rows], adapter.apply(single, x[rows], y[rows], site), atol=1e-3, rtol=1e-3)

    def test_initial_values_are_decided_by_the_generator(self, name, site):
        adapter = adapter_of(name)
        first, again = (adapter.factors(site, torch.Generator().manual_seed(7)) for _ in range(2))
        assert all(torch.equal(first[k].init, again[k].init) for k in first)

    def test_json_round_trip(self, name):
        adapter = adapter_of(name)
        assert Adapter.model_validate(json.loads(adapter.model_dump_json())) == adapter
        assert adapter.kind == name


def a_pack() -> Pack:
    init = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    return Pack("C_2x4", "C", ("a", "b", "c"), "latent", init, Normal(scale=0.5), torch.zeros(3, 2, 4))


@pytest.mark.parametrize("name", GUIDES)
class TestGuide:
    def build(self, name: str):
        spec: GuideSpec = registry.get("guides", name)()
        return spec, spec.build([a_pack()], torch.Generator().manual_seed(0))

    def test_parameters_exist_before_the_first_step_in_float32(self, name):
        _, guide = self.build(name)
        assert {p.dtype for p in guide.parameters()} <= {torch.float32}
        spread = {id(p) for p in guide.spread()}
        assert spread <= {id(p) for p in guide.parameters()}

    def test_starts_at_the_initial_values(self, name):
        _, guide = self.build(name)
        torch.testing.assert_close(guide.mean()["C_2x4"].detach(), a_pack().init)

    def test_kl_has_a_closed_form_against_the_normal_prior(self, name):
        spec, guide = self.build(name)
        if not spec.variational:
            return
        prior = a_pack().prior.distribution(a_pack().center)
        if name == "dropout":  # two atoms have a KL against the same two only
            prior = registry.get("priors", name)().distribution(a_pack().init)
        check_kl("C_2x4", guide.q()["C_2x4"], prior)
        kl = kl_divergence(guide.q()["C_2x4"], prior)
        if kl.requires_grad:
            kl.backward()
        assert all(p.grad is not None for p in guide.parameters())

    def test_draws_have_the_moments_of_q(self, name):
        spec, guide = self.build(name)
        n = guide.members or 4000
        draws = guide.draws(n, torch.Generator().manual_seed(1))["C_2x4"].detach()
        assert draws.shape == (n, 3, 2, 4)
        if not spec.stochastic or guide.members:  # members all start at the same values
            torch.testing.assert_close(draws[0], guide.mean()["C_2x4"].detach())
            return
        try:
            q = guide.q()["C_2x4"]
        except GuideError:  # no distribution for each pack; its own tests know its moments
            assert not spec.variational
            return
        with torch.random.fork_rng():
            torch.manual_seed(2)
            own = q.sample((n,))
        standard_error = (draws.var(0) / n + own.var(0) / n).sqrt()
        assert ((draws.mean(0) - own.mean(0)).abs() < 5 * standard_error).all()
        # The variance of an estimated variance, relative to its square, is (kurtosis - 1) / n: 2 / n for a normal.
        log_error = sum((((d - d.mean(0)) ** 4).mean(0) / d.var(0) ** 2 - 1) / n for d in (draws, own)).sqrt()
        assert ((draws.var(0) / own.var(0)).log().abs() < 5 * log_error).all()

    def test_first_draws_do_not_depend_on_how_many_follow(self, name):
        _, guide = self.build(name)
        few, many = (guide.draws(n, torch.Generator().manual_seed(3))["C_2x4"] for n in (2, 5))
        assert torch.equal(few, many[:2])

    def test_state_dict_round_trip(self, name):
        spec, guide = self.build(name)
        other = spec.build([a_pack()], torch.Generator().manual_seed(9))
        other.load_state_dict(guide.state_dict(), strict=True)
        a, b = (g.draws(2, torch.Generator().manual_seed(4))["C_2x4"] for g in (guide, other))
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", PRIORS)
def test_prior_has_every_dimension_as_event_and_survives_json(name):
    cls = registry.get("priors", name)
    prior = cls(**dict.fromkeys(cls.model_fields, 0.5))
    distribution = prior.distribution(torch.ones(2, 3))
    assert (distribution.batch_shape, distribution.event_shape) == ((), (2, 3))
    if prior.proper and not distribution.support.is_discrete:
        at, off = (float(distribution.log_prob(torch.full((2, 3), v))) for v in (1.0, 2.0))
        assert at > off, "the density is highest at the center"
    assert Prior.model_validate(json.loads(prior.model_dump_json())) == prior


@pytest.mark.parametrize("name", registry.names("likelihoods"))
def test_a_likelihood_says_whether_it_can_be_linearised(name):
    likelihood = registry.get("likelihoods", name)()
    try:
        likelihood.gaussian_average(2, False, lambda outputs: torch.zeros(1, outputs))
    except ConfigError:
        assert not likelihood.linearises
    else:
        assert likelihood.linearises


def test_methods_under_other_priors_do_not_share_their_words():
    """A method that is made from another one takes its words over, unless it has its own."""
    said: dict[str, set[str]] = {}
    for name in METHODS:
        method = registry.get("methods", name)
        priors = (method.latent_prior, method.point_prior, method.head_prior)
        said.setdefault(method.deviations, set()).add(repr(priors))
    assert [words for words, priors in said.items() if words and len(priors) > 1] == []


def quick(name: str) -> Method:
    """A method that fits in a few steps, whatever its spread is worth then."""
    method: Method = registry.get("methods", name)
    return (
        method.replace(guide=method.guide.replace(verify=False))
        if "verify" in type(method.guide).model_fields
        else method
    )


def unseen(method: str, data: object) -> dict[str, object]:
    """What a method needs besides training data."""
    return {"validation": data} if registry.get("methods", method).temperature else {}


@pytest.mark.parametrize("name", METHODS)
class TestMethod:
    def test_says_what_it_is(self, name):
        method: Method = registry.get("methods", name)
        assert method.name == name
        assert all([method.title, method.summary, method.reference])
        assert Method.model_validate_json(method.model_dump_json()) == method

    def test_fits_saves_loads_and_predicts(self, name, bert, tokenizer, sentences, tmp_path):
        base = copy.deepcopy(bert)  # some adapters merge into the network itself
        posterior = bayespeft.fit(
            bert, sentences, quick(name), tokenizer=tokenizer, train=TrainConfig(steps=3), progress=False,
            **unseen(name, sentences),
        )  # fmt: skip
        predictive = posterior.predict(sentences, draws=3)
        total = predictive.probs.sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))
        draws = 256 if posterior.method.guide.prediction == "linearised" else 3
        assert predictive.draws == (draws if posterior.approximation.stochastic else 0)
        posterior.save(tmp_path / "out")
        loaded = bayespeft.load(tmp_path / "out", base, tokenizer=tokenizer)
        assert torch.equal(loaded.predict(sentences, draws=3).log_probs, predictive.log_probs)

    def test_works_with_label_tokens(self, name, llama, tokenizer, questions):
        if registry.get("methods", name).guide.covers == "head":
            with pytest.raises(GuideError, match="no freshly made head"):
                bayespeft.fit(llama, questions, name, tokenizer=tokenizer, progress=False)
            return
        posterior = bayespeft.fit(
            llama, questions, quick(name), tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False,
            **unseen(name, questions),
        )  # fmt: skip
        assert posterior.predict(questions, draws=2).probs.shape == (12, 3)

    def test_every_sampled_site_is_trained(self, name, bert, tokenizer, sentences):
        options = {"tokenizer": tokenizer, "progress": False, **unseen(name, sentences)}
        first = bayespeft.fit(
            bert, sentences, quick(name), train=TrainConfig(steps=2, lr=0, variational_lr=0), **options
        )
        last = bayespeft.fit(bert, sentences, quick(name), train=TrainConfig(steps=4), **options)
        before, after = first.approximation.state_dict(), last.approximation.state_dict()
        # Symmetry fixes eigenvectors (of two logits only the difference counts); where ScalaBL's prior moved to is drawn once.
        still = ("fixed_", "rows_", "columns_", "moved_")
        moving = [key for key in before if before[key].dim() and not any(part in key for part in still)]
        assert [key for key in moving if torch.equal(before[key], after[key])] == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_method_takes_every_adapter(method, adapter, mlp, xy):
    guide = registry.get("methods", method).guide
    factors = adapter_of(adapter).factors(all_sites(mlp)["0"], torch.Generator())
    roles = {factor.role for factor in factors.values()}
    # The network has no head of its own.
    covered = {"latent": "latent" in roles, "trained": True, "adapter": True, "head": False}[guide.covers]
    options = {
        "adapter": adapter_of(adapter),
        "targets": "all-linear",
        "train": TrainConfig(steps=3),  # as many as the network has layers: one may take them in turn
        "progress": False,
        **unseen(method, xy),
    }
    if guide.stochastic and not covered:
        with pytest.raises(GuideError, match="nothing to be uncertain about"):
            bayespeft.fit(mlp, xy, quick(method), **options)
        return
    if guide.needs and dict(guide.needs) != {name: f.role for name, f in factors.items()}:
        with pytest.raises(GuideError, match="needs an adapter with the factors"):
            bayespeft.fit(mlp, xy, quick(method), **options)
        return
    if adapter_of(adapter).merge_interval(1) is not None and not guide.restarts:
        with pytest.raises(GuideError, match="merges into the weights"):
            bayespeft.fit(mlp, xy, quick(method), **options)
        return
    if adapter in ("intrinsic", "dora") and guide.noise == "token":
        # They make one matrix, or one norm, a draw; signs for each token would need one a token.
        with pytest.raises(GuideError, match="noise='example' or noise='batch'"):
            bayespeft.fit(mlp, xy, quick(method), **options)
        return
    posterior = bayespeft.fit(mlp, xy, quick(method), **options)
    assert posterior.predict(xy, draws=2).probs.shape == (60, 3)


def test_packs_of_different_roles_do_not_collide(bert):
    sites = all_sites(bert)
    factors = {
        name: registry.get("adapters", "full")().factors(sites[name], torch.Generator())
        for name in ("classifier", "bert.pooler.dense")
    }
    packs = pack(factors, dict.fromkeys(("latent", "point", "head", "fixed"), Normal(scale=1.0)))
    assert len({p.name for p in packs}) == len(packs) == 4
