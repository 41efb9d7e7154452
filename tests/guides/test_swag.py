"""SWAG's moments against numpy over the snapshots, and its draws against the covariance that the paper states."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, GuideError
from bayespeft.gaussians import LowRank
from bayespeft.guides.swag import Snapshots, Swag
from bayespeft.guides.swag_adapter import SwagAdapter
from bayespeft.layers.factors import StackedFactor
from bayespeft.methods.swag import METHOD
from bayespeft.priors.flat import Flat
from bayespeft.training.trainer import Trainer
from tests.training.helpers import Direct, problem

SHORT = TrainConfig(steps=40, lr=1e-2)
OPTIONS = {"targets": "all-linear", "train": SHORT, "progress": False}


def stacks() -> list[StackedFactor]:
    shapes = {"C_2x4": (3, 2, 4), "b_5": (2, 5)}
    return [
        StackedFactor(name, name[0], tuple("xyz"[: shape[0]]), "latent", torch.zeros(shape), Flat(), torch.zeros(shape))
        for name, shape in shapes.items()
    ]


def snapshots(n: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{p.name: torch.randn(p.init.shape, generator=generator) + 3 for p in stacks()} for _ in range(n)]


def flat(values: dict[str, torch.Tensor], leading: int = 0) -> np.ndarray:
    return torch.cat([value.detach().double().flatten(leading) for value in values.values()], leading).numpy()


def fitted(seen: list[dict[str, torch.Tensor]], rank: int):
    guide = Swag(rank=rank).build(stacks(), torch.Generator())
    kept = Snapshots(rank)
    for values in seen:
        kept.add(values)
    guide.set_moments(kept)
    return guide


def stated(seen: list[dict[str, torch.Tensor]], rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance as the paper says, in plain numpy."""
    theta = np.stack([flat(values) for values in seen])
    mean = theta.mean(0)
    diagonal = (theta**2).mean(0) - mean**2
    running = np.cumsum(theta, 0) / np.arange(1, len(theta) + 1)[:, None]
    deviations = (theta - running)[-rank:]
    return mean, np.diag(diagonal) / 2 + deviations.T @ deviations / (2 * (len(deviations) - 1))


@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 2**31))
def test_mean_and_covariance_are_those_of_the_paper(n, rank, seed):
    seen = snapshots(n, seed)
    guide = fitted(seen, rank)
    mean, covariance = stated(seen, rank)
    np.testing.assert_allclose(flat(guide.mean()), mean, atol=1e-6)
    # The root of the covariance, column by column: S e_i for every unit vector.
    root = flat(guide.sqrt_matvec(torch.eye(guide.noise_size)), 1)
    np.testing.assert_allclose(root.T @ root, covariance, atol=2e-6)
    np.testing.assert_allclose(flat(guide.std()), np.sqrt(np.diag(covariance)), rtol=1e-4)


def test_each_layer_alone_has_its_block_of_the_covariance():
    seen = snapshots(9)
    guide = fitted(seen, 4)
    _, covariance = stated(seen, 4)
    q = guide.q()["C_2x4"]
    assert isinstance(q, LowRank)
    for layer in range(3):
        block = covariance[8 * layer : 8 * layer + 8, 8 * layer : 8 * layer + 8]
        factor = q.factor[layer].numpy()
        np.testing.assert_allclose(np.diag(q.std[layer].flatten().numpy() ** 2) + factor @ factor.T, block, atol=1e-5)


def test_pull_is_the_adjoint_of_push():
    guide = fitted(snapshots(7), 3).double()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, guide.noise_size, generator=generator, dtype=torch.float64)
    gradients = {p.name: torch.randn(4, *p.init.shape, generator=generator, dtype=torch.float64) for p in stacks()}
    with torch.no_grad():
        pushed = guide.sqrt_matvec(noise)
        left = sum((pushed[name] * gradients[name]).flatten(1).sum(1) for name in gradients)
        torch.testing.assert_close(left, (noise * guide.sqrt_rmatvec(gradients)).sum(1))


def test_draws_have_the_covariance():
    seen = snapshots(6)
    guide = fitted(seen, 3)
    mean, covariance = stated(seen, 3)
    n = 20_000
    draws = flat(guide.transform(torch.randn(n, guide.noise_size, generator=torch.Generator().manual_seed(0))), 1)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(0) - mean) / sd).max() < 4.5 / math.sqrt(n)
    # A covariance's standard error is at most sd_i sd_j sqrt(2 / n).
    assert np.abs((np.cov(draws.T) - covariance) / np.outer(sd, sd)).max() < 5 * math.sqrt(2 / n)


def test_large_values_do_not_cancel():
    """Mean of squares minus square of the mean, in float32, would be noise here."""
    seen = [{name: 1000 + 1e-3 * value for name, value in values.items()} for values in snapshots(8)]
    _, covariance = stated(seen, 4)
    np.testing.assert_allclose(flat(fitted(seen, 4).std()), np.sqrt(np.diag(covariance)), rtol=1e-3)


def test_what_never_moves_stays_a_distribution():
    guide = fitted([{p.name: torch.ones(p.init.shape) for p in stacks()}] * 3, 2)
    draws = guide.draws(3, torch.Generator().manual_seed(0))
    assert all(torch.equal(value, torch.ones_like(value)) for value in draws.values())
    assert all(torch.isfinite(q.log_prob(q.mean)) for q in guide.q().values())


def test_fit_collects_the_snapshots_of_the_constant_rate(mlp, xy):
    """The loop is deterministic, so a second run shows the snapshots that the guide saw."""
    spec = Swag(epochs=3, every=0.5, rank=4, lr_factor=2.0)
    train = TrainConfig(steps=20, lr=1e-2, warmup=0.1, kl_warmup=0.5, batch_size=16)
    with problem(mlp, xy, Direct(), spec, latent_prior=Flat(), train=train) as p:
        guide = p.joint_guide.latent
        history = guide.fit(Trainer(p))
        values, _ = Trainer(p).point()
        seen: list[dict[str, torch.Tensor]] = []

        def after(step, joint_guide):
            if step % 2 == 0:
                seen.append({name: value.detach().clone() for name, value in joint_guide.latent.mean().items()})

        constant = TrainConfig(epochs=3, lr=2e-2, lr_schedule="constant", warmup=0, kl_warmup=0, batch_size=16)
        Trainer(p).train_point(
            [replace(stack, init=values[stack.name]) for stack in p.stacks], 1, constant, after=after
        )
    assert len(seen) == 6
    assert history.steps == 20 + 12
    mean, covariance = stated(seen, 4)
    np.testing.assert_allclose(flat(guide.mean()), mean, atol=1e-6)
    root = flat(guide.sqrt_matvec(torch.eye(guide.noise_size)), 1)
    np.testing.assert_allclose(root.T @ root, covariance, atol=1e-7)


def test_every_rate_is_scaled():
    train = TrainConfig(lr=0.1, head_lr=0.2, factor_lr={"values": 0.3})
    found = Swag(lr_factor=2.0).constant(train)
    assert (found.lr, found.head_lr, found.factor_lr) == (0.2, 0.4, {"values": 0.6})


def test_starting_from_a_fit_trains_the_snapshots_only(mlp, xy):
    start = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    posterior = bayespeft.fit(mlp, xy, METHOD, start=start, **OPTIONS)
    per_epoch = math.ceil(60 / 16)
    assert posterior.history.steps == METHOD.guide.epochs * per_epoch
    whole = bayespeft.fit(mlp, xy, METHOD, **OPTIONS)
    for name, value in whole.joint_guide.latent.mean().items():
        assert torch.equal(value, posterior.joint_guide.latent.mean()[name])


def test_linearised_prediction_agrees_where_the_spread_is_small(mlp, xy):
    method = METHOD.replace(guide=Swag(lr_factor=0.05, rank=5))
    posterior = bayespeft.fit(mlp, xy, method, **OPTIONS)
    sampled = posterior.predict(xy, draws=400, keep_draws=True).draw_log_probs.std(0)
    linear = posterior.predict(xy, prediction="linearised", keep_draws=True).draw_log_probs.std(0)
    # To first order the same spread; a standard deviation of 400 draws has a relative standard error of 3.5 %.
    assert (sampled / linear).log().abs().max() < 0.2


@pytest.mark.parametrize(("epochs", "every"), [(1, 1), (0.25, 0.25), (2, 4)])
def test_one_snapshot_has_no_variance(mlp, xy, epochs, every):
    method = METHOD.replace(guide=Swag(epochs=epochs, every=every))
    with pytest.raises(ConfigError, match=r"snapshots? of \d+ steps: a variance needs at least two"):
        bayespeft.fit(mlp, xy, method, **OPTIONS)


def test_correlations_refuse_sign_flips():
    with pytest.raises(ConfigError, match="sign flips"):
        Swag(noise="flipout")


def test_swag_over_the_core_of_lora_xs(mlp, xy):
    method = bayespeft.methods()["lora_xs_bayes"]
    adapter = method.adapter.replace(r=3)
    train = TrainConfig(steps=60, lr=2e-2)
    posterior = bayespeft.fit(mlp, xy, method, adapter=adapter, targets="all-linear", train=train, progress=False)
    assert set(posterior.joint_guide.latent.mean()) == {"C_3x3"}
    found = posterior.predict(xy)
    assert float(found.mutual_information.mean()) > 0
    with torch.no_grad():
        base = torch.nn.functional.cross_entropy(mlp(xy[0]), xy[1])
    assert float(-found.log_probs.gather(-1, found.labels[:, None]).mean()) < float(base)


def test_scale_multiplies_the_covariance():
    seen = snapshots(5)
    half = fitted(seen, 3)
    kept = Snapshots(3)
    for values in seen:
        kept.add(values)
    twice = Swag(rank=3, scale=2.0).build(stacks(), torch.Generator())
    twice.set_moments(kept)
    np.testing.assert_allclose(flat(twice.std()), 2 * flat(half.std()), rtol=1e-5)


def test_a_head_that_is_no_part_of_swag_ends_where_training_ended(bert, tokenizer, sentences):
    method = bayespeft.methods()["lora_xs_bayes"]
    guide = method.guide.replace(epochs=1, every=0.5)
    train = TrainConfig(steps=2, batch_size=2)
    posterior = bayespeft.fit(
        bert, sentences, method.replace(guide=guide), tokenizer=tokenizer, train=train, progress=False
    )
    joint_guide = posterior.joint_guide
    assert {stack.factor for stack in joint_guide.stacks if stack.name in joint_guide.random} == {"C"}
    for stack in joint_guide.stacks:
        if stack.role == "head":
            assert not torch.equal(joint_guide.points.mean()[stack.name].detach(), stack.init)


def test_nothing_trained_is_an_error(mlp, xy):
    class Nothing(Direct):
        def factors(self, layer, generator):
            return {name: replace(f, role="fixed") for name, f in super().factors(layer, generator).items()}

    with pytest.raises(GuideError, match="nothing is trained"), problem(mlp, xy, Nothing(), Swag()):
        pass
    with pytest.raises(GuideError, match="the adapter trains nothing"), problem(mlp, xy, Nothing(), SwagAdapter()):
        pass
