"""A factor that all layers share: one row, one prior, one draw, whoever looks at it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal as Law
from torch.distributions import kl_divergence

from bayespeft.adapters.attach import Placement
from bayespeft.adapters.base import Adapter
from bayespeft.analysis.summary import SHARED, summarise
from bayespeft.analysis.weight_covariance import weight_covariance
from bayespeft.errors import ConfigError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.guides.mean_field import MeanField
from bayespeft.layers.factors import Factor, stack_factors
from bayespeft.layers.layer import Layer, all_layers
from bayespeft.layers.weights import Flipped, Grouped
from bayespeft.priors.empirical_bayes import EmpiricalBayes
from bayespeft.priors.normal import Normal
from bayespeft.variational.joint_guide import JointGuide
from tests.training.helpers import problem

PRIORS = dict.fromkeys(("latent", "point", "head", "fixed"), Normal(scale=0.7))


class Common(Adapter):
    """y + c_layer t x: a latent scale t of all layers, a constant of each."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        shape = (layer.out_features, layer.in_features)
        return {
            "t": Factor(torch.full((1,), 0.5), "latent", center=torch.full((1,), 0.2), shared=True),
            "c": Factor(torch.randn(shape, generator=generator), "latent"),
        }

    def apply(self, factors: Mapping, x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        return y + factors["t"].mul(factors["c"].linear(x))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        return factors["t"] * factors["c"]


WIDE = MeanField(init_std=(0.3, 0.3))


def joint_guide(mlp, spec: GuideSpec = WIDE, priors=PRIORS):
    generator = torch.Generator().manual_seed(0)
    placements = [Placement(layer, Common()) for layer in all_layers(mlp).values()]
    stacks = stack_factors({p.layer.name: p.adapter.factors(p.layer, generator) for p in placements}, priors)
    return JointGuide(stacks, spec, generator), placements, spec


def test_shared_factors_make_one_row_that_all_layers_use(mlp):
    q, placements, _ = joint_guide(mlp)
    (shared,) = [p for p in q.stacks if p.shared]
    assert (shared.name, shared.init.shape, shared.center.tolist()) == ("t_1_shared", (1, 1), [[pytest.approx(0.2)]])
    assert shared.rows == {"0": 0, "2": 0, "4": 0}
    assert shared.owners == ("0",)
    (stacked,) = [p for p in q.stacks if p.factor == "c" and p.init.shape[1:] == (12, 12)]
    assert stacked.rows == {"2": 0}
    assert stacked.owners == ("2",)
    weights = q.shared_weights(q.mean())
    assert len({id(weights[p.layer.name]["t"]) for p in placements}) == 1


@pytest.mark.parametrize("part", ["init", "center"])
def test_sites_must_agree(part):
    one, two = torch.zeros(2), torch.ones(2)
    factors = {
        layer: {
            "t": Factor(value if part == "init" else one, "point", value if part == "center" else None, shared=True)
        }
        for layer, value in (("a", one), ("b", two))
    }
    with pytest.raises(ConfigError, match=r"'t'.*'a' and 'b'"):
        stack_factors(factors, PRIORS)
    assert len(stack_factors({"a": factors["a"]}, PRIORS)) == 1


def test_shared_and_own_factors_of_one_name_stay_apart():
    factors = {
        "a": {"t": Factor(torch.zeros(2), "point", shared=True)},
        "b": {"t": Factor(torch.ones(2), "point")},
        "c": {"t": Factor(torch.zeros(2), "point", shared=True)},
    }
    shared, own = stack_factors(factors, PRIORS)
    assert (shared.layers, own.layers) == (("a", "c"), ("b",))
    assert shared.name != own.name


def test_its_kl_counts_once(mlp, xy):
    expected = float(kl_divergence(Law(0.5, 0.3), Law(0.2, 0.7)))
    with problem(mlp, xy, Common(), MeanField(init_std=(0.3, 0.3)), latent_prior=Normal(scale=0.7)) as one:
        with torch.no_grad():
            q, p = one.joint_guide.q(), one.joint_guide.priors()
        assert float(kl_divergence(q["t_1_shared"], p["t_1_shared"]).detach()) == pytest.approx(expected, rel=1e-5)
        kl = one.prior_terms().kl
        rest = sum(float(kl_divergence(q[name], p[name]).detach()) for name in q if name != "t_1_shared")
        assert kl == pytest.approx(expected + rest, rel=1e-5)
        # With the data's part taken away, what is left of the objective is KL / N.
        batch = next(iter(one.examples.batches(60)))
        loss, nll = one.loss(batch, 1.0)
        assert float(loss.detach() - nll) == pytest.approx(kl / 60, rel=1e-4)


def test_the_summary_has_one_row_for_it_and_its_totals_are_right(mlp):
    q, placements, spec = joint_guide(mlp, priors={**PRIORS, "latent": EmpiricalBayes()})
    summary = summarise(q, placements, spec)
    assert [row.layer for row in summary.layers] == ["0", "2", "4", SHARED]
    assert summary.random == sum(p.init.numel() for p in q.stacks)
    own, priors = q.q(), q.priors()
    assert summary.kl == pytest.approx(sum(float(kl_divergence(own[n], priors[n]).detach()) for n in own), rel=1e-5)
    row = summary.layers[-1]
    assert (row.random, row.deviation) == (1, pytest.approx(0.3))
    assert set(row.prior_scales) == {"t"}
    assert all(set(layer.prior_scales) == {"c"} for layer in summary.layers[:-1])


def test_a_draw_is_the_same_in_every_layer(mlp):
    q, placements, _ = joint_guide(mlp)
    draws = q.latent.draws(3, torch.Generator().manual_seed(1))
    assert draws["t_1_shared"].shape == (3, 1, 1)
    folded = q.folded_weights(draws, 4)
    for placement in placements:
        weight = folded[placement.layer.name]["t"]
        assert isinstance(weight, Grouped)
        assert torch.equal(weight.value, draws["t_1_shared"][:, 0])


def test_signs_are_the_same_in_every_layer(mlp):
    q, placements, _ = joint_guide(mlp, MeanField(noise="flipout", init_std=(0.3, 0.3)))
    values = {name: law.rsample() for name, law in q.q().items()}
    weights = q.training_weights(values, 5)
    assert isinstance(weights["0"]["t"], Flipped)
    assert len({id(weights[p.layer.name]["t"].sign_in) for p in placements}) == 1
    assert len({id(weights[p.layer.name]["c"]) for p in placements}) == 3


def test_example_values_reach_every_layer(mlp):
    q, placements, _ = joint_guide(mlp)
    leaves = {name: value.detach().expand(2, *value.shape).clone() for name, value in q.latent.mean().items()}
    weights = q.example_weights(leaves)
    assert all(weights[p.layer.name]["t"].value.shape == (2, 1) for p in placements)


@pytest.mark.parametrize("spec", [MeanField(init_std=(0.3, 0.3)), FullCovariance(init_std=(0.3, 0.3))])
def test_the_covariance_of_a_layer_sees_it(mlp, spec):
    q, placements, _ = joint_guide(mlp, spec)
    covariance = weight_covariance(q, placements, "4")
    (stack_c,) = [p for p in q.stacks if p.factor == "c" and "4" in p.rows]
    c = stack_c.init[0].double()
    # Var(t c) linearised: c^2 var t + t^2 var c.
    expected = (c.square() * 0.09 + 0.25 * 0.09).sqrt()
    torch.testing.assert_close(covariance.std(), expected, rtol=1e-4, atol=1e-6)
