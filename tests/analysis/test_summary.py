"""`posterior.summary()` against the formulas, factor by factor, and against what training reported."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.core import Core
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.scaled_rows import ScaledRows
from bayespeft.analysis.summary import Summary
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.priors.empirical_bayes import EmpiricalBayes

TRAIN = TrainConfig(steps=10, batch_size=16, lr=0.02)


def fitted(mlp: Any, xy: Any, guide: str | GuideSpec | Method, **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(mlp, xy, guide, **{"targets": "all-linear", "train": TRAIN, "progress": False, **options})


def factor(posterior: bayespeft.Posterior, name: str, row: int) -> torch.Tensor:
    (stack,) = [p.name for p in posterior.joint_guide.stacks if p.factor == name and p.init.shape[1:] == (8, 8)]
    return posterior.joint_guide.mean()[stack][row].detach().double()


@pytest.mark.parametrize(
    "name", ["melora", "blob", "melora_full", "melora_low_rank", "melora_matrix_normal", "melora_empirical_bayes", "melora_ard",
             "melora_randomised"]
)  # fmt: skip
def test_kl_of_the_layers_adds_up_to_that_of_training(name, mlp, xy):
    posterior = fitted(mlp, xy, name)
    summary = posterior.summary()
    assert summary.kl == pytest.approx(sum(layer.kl for layer in summary.layers))
    assert summary.random == sum(layer.random for layer in summary.layers)
    assert summary.trained == posterior.joint_guide.trainable()
    assert [layer.layer for layer in summary.layers] == ["0", "2", "4"]
    assert summary.kl == pytest.approx(posterior.history.records[-1].kl, rel=1e-5)
    assert posterior.summary() == summary


def test_the_kl_of_a_randomised_prior_is_that_of_the_posterior_not_of_a_draw(mlp, xy):
    posterior = fitted(mlp, xy, "melora_randomised")
    found = {replace(posterior, seed=seed).summary().kl for seed in range(4)}
    with torch.no_grad():
        q, centers = posterior.joint_guide.latent.q(), posterior.joint_guide.centers()
        (name,) = q
        center = torch.stack([centers[layer, "C"] for layer in ("0", "2", "4")])
        prior = posterior.method.latent_prior
        torch.manual_seed(0)
        draws = torch.stack([kl_divergence(q[name], prior.distribution(center)).double() for _ in range(4000)])
    (kl,) = found
    assert abs(kl - float(draws.mean())) < 4 * float(draws.std()) / 4000**0.5


def test_a_reversed_kl_is_what_trains_not_what_is_reported(mlp, xy):
    posterior = fitted(mlp, xy, "scalabl_official", adapter=ScaledRows(r=2))
    guide = posterior.joint_guide.latent
    ((name, mean),), std = guide.mean().items(), guide.std()
    (stack,) = (p for p in posterior.joint_guide.stacks if p.name == name)
    with torch.no_grad():
        right = kl_divergence(Normal(mean, std[name]), Normal(stack.center, 1.0))
    assert posterior.summary().kl == pytest.approx(float(right.sum()), rel=1e-4)
    assert posterior.history.records[-1].kl == pytest.approx(float(right.sum()), rel=1e-4)


def test_every_number_of_a_layer_is_its_formula(mlp, xy):
    posterior = fitted(mlp, xy, "melora")
    layer = posterior.summary().layers[1]
    joint_guide = posterior.joint_guide
    core, std = factor(posterior, "C", 1), joint_guide.latent.std()["C_8x8"][1].detach().double()
    away = core - torch.eye(8)
    prior = posterior.method.latent_prior.scale / 8**0.5
    assert (layer.adapter, layer.random, layer.prior_scales) == ("core", 64, {})
    kl = (torch.log(prior / std) + (std**2 + away**2) / (2 * prior**2) - 0.5).sum()
    assert layer.kl == pytest.approx(float(kl), rel=1e-4)
    assert layer.std_mean == pytest.approx(float(std.mean()))
    assert layer.std_spread == pytest.approx(float(((std - std.mean()) ** 2).mean().sqrt()))
    assert layer.deviation == pytest.approx(float((away**2).sum().sqrt()))
    assert layer.signal_to_noise == pytest.approx(float((away.abs() / std).mean()))
    a, b = (joint_guide.points.mean()[name].detach() for name in ("A_8x12", "B_12x8"))
    assert layer.norms == pytest.approx({"A": float(a[0].norm()), "B": float(b[1].norm())})


def test_learned_scales_are_those_of_the_prior_in_use(mlp, xy):
    method = registry.get("methods", "melora").replace(latent_prior=EmpiricalBayes(), point_prior=EmpiricalBayes())
    posterior = fitted(mlp, xy, method)
    priors = posterior.joint_guide.priors()
    for row, layer in enumerate(posterior.summary().layers):
        assert set(layer.prior_scales) == {"A", "B", "C"}
        assert layer.prior_scales["C"] == pytest.approx(float(priors["C_8x8"].base_dist.scale[row, 0, 0]))
    away = factor(posterior, "C", 0) - torch.eye(8)
    std = posterior.joint_guide.latent.std()["C_8x8"][0].detach().double()
    learned = math.sqrt((0.4**2 + float((std**2 + away**2).sum())) / 65)
    assert posterior.summary().layers[0].prior_scales["C"] == pytest.approx(learned, rel=1e-5)


@pytest.mark.parametrize("name", ["mle", "map"])
def test_a_point_has_norms_and_no_spread(name, mlp, xy):
    summary = fitted(mlp, xy, name).summary()
    assert (summary.kl, summary.random) == (None, 0)
    for layer in summary.layers:
        assert (layer.kl, layer.std_mean, layer.std_spread, layer.signal_to_noise) == (None,) * 4
        assert set(layer.norms) == {"A", "B"}
        # LoRA's A is the latent factor, centered at zero, whichever guide it has.
        assert layer.deviation == pytest.approx(layer.norms["A"])
    text = repr(summary)
    assert "norms" in text
    assert "KL" not in text
    assert "sd" not in text


@pytest.mark.parametrize("kind", ["laplace_diagonal", "laplace_full", "laplace_kronecker", "swag"])
def test_a_gaussian_that_is_not_fitted_by_its_kl_has_a_spread_alone(kind, mlp, xy):
    posterior = fitted(mlp, xy, registry.get("guides", kind)(), adapter=Lora(r=2))
    summary = posterior.summary()
    assert summary.kl is None
    covered = posterior.method.guide.covers == "trained"
    for layer in summary.layers:
        assert layer.kl is None
        assert layer.std_mean > 0
        assert set(layer.norms) == (set() if covered else {"B"})
    assert summary.random == sum(p.init.numel() for p in posterior.joint_guide.stacks if covered or p.factor == "A")


def test_an_ensemble_is_random_without_a_spread_in_closed_form(mlp, xy):
    guide = registry.get("guides", "ensemble")(members=2)
    summary = fitted(mlp, xy, guide, adapter=Lora(r=2)).summary()
    assert summary.kl is None
    assert all(layer.std_mean is None and layer.random and layer.deviation > 0 for layer in summary.layers)


def test_heads_are_rows_too(bert, tokenizer, sentences):
    posterior = fitted(bert, sentences, "melora", tokenizer=tokenizer, targets="auto")
    head = posterior.summary().layers[-1]
    assert (head.layer, head.adapter, head.random, head.kl, head.deviation) == ("classifier", "head", 0, None, None)
    assert set(head.norms) == {"W", "b", "mean", "scale"}


def test_it_prints_as_a_table_and_becomes_json(mlp, xy):
    posterior = fitted(mlp, xy, FullCovariance(), adapter=Core(r=2))
    summary = posterior.summary()
    lines = repr(summary).splitlines()
    assert lines[0].startswith(f"full_covariance: {summary.trained:,} trained numbers")
    assert all(word in lines[2] for word in ("layer", "random", "KL (nats)", "sd", "signal/noise", "norms"))
    assert "prior sd" not in lines[2]
    assert any("total" in line and f"{summary.kl:.1f}" in line for line in lines)
    assert max(map(len, lines)) <= 160
    data = json.loads(json.dumps(summary.to_dict()))
    assert data["layers"][0]["norms"] == pytest.approx(summary.layers[0].norms)
    assert isinstance(summary, Summary)


def test_it_leaves_the_random_state_alone(mlp, xy):
    posterior = fitted(mlp, xy, MeanField())
    before = torch.get_rng_state()
    posterior.summary()
    assert torch.equal(torch.get_rng_state(), before)
