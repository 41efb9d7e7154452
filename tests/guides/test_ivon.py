"""IVON finds the posterior that can be computed, and refuses what it would ignore."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.lora import Lora
from bayespeft.errors import ConfigError, MissingPackageError
from bayespeft.guides.ivon import Ivon
from bayespeft.methods.ivon import METHOD
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal
from bayespeft.training.trainer import Trainer
from tests.training.helpers import Direct, UnitNormal, problem

pytest.importorskip("ivon")

# For runs that are too short for their spread to mean anything.
QUICK = METHOD.replace(guide=METHOD.guide.replace(verify=False))


def test_conjugate_regression_is_recovered():
    """Means of the exact posterior; variances, the inverse of its precision's diagonal."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator) @ torch.tensor([[1.0, 0.6, 0], [0, 1, 0.5], [0, 0, 2]])
    y = x @ torch.tensor([[1.0], [-0.5], [0.3]]) + torch.randn(40, 1, generator=generator)
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    nn.init.zeros_(model[0].weight)
    decay = 1 / (40 * 0.7**2)
    train = TrainConfig(steps=3000, batch_size=40, lr=0.1, clip=0, weight_decay=decay)
    spec = Ivon(hess_init=2.0, beta2=0.995)
    with problem(model, (x, y), Direct(), spec, latent_prior=Flat(), likelihood=UnitNormal(), train=train) as p:
        guide = p.joint_guide.latent
        guide.fit(Trainer(p))
    precision = x.T @ x + torch.eye(3) / 0.7**2
    torch.testing.assert_close(
        guide.mean()["W_1x3"].detach().flatten(), torch.linalg.solve(precision, x.T @ y).flatten(), atol=0.02, rtol=0
    )
    # h is a running mean of noisy estimates: over about 200 steps with one draw each.
    ratio = guide.std()["W_1x3"].flatten() * precision.diagonal().sqrt()
    torch.testing.assert_close(ratio, torch.ones(3), atol=0.15, rtol=0)


def test_std_starts_where_the_settings_say(mlp, xy):
    """With beta1 = 1 - eps and beta2 so near to 1 nothing moves: std is that of the start."""
    train = TrainConfig(steps=1, lr=0, weight_decay=0.5)
    method = METHOD.replace(guide=Ivon(hess_init=2.0, beta2=1 - 1e-9, verify=False))
    posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=train, progress=False)
    for std in posterior.joint_guide.latent.std().values():
        torch.testing.assert_close(std, torch.full_like(std, (60 * 2.5) ** -0.5), rtol=1e-4, atol=0)


def test_every_number_gets_its_own_curvature(bert, tokenizer, sentences):
    """Body and head are two groups of the optimiser; neither takes the other's state."""
    train = TrainConfig(steps=3, lr=0.0, head_lr=0.1)
    posterior = bayespeft.fit(bert, sentences, QUICK, tokenizer=tokenizer, train=train, progress=False)
    joint_guide = posterior.joint_guide
    before = bayespeft.fit(
        bert, sentences, "mle", tokenizer=tokenizer, train=TrainConfig(steps=1, lr=0), progress=False
    ).joint_guide.mean()
    for stack in joint_guide.stacks:
        moved = not torch.equal(joint_guide.mean()[stack.name], before[stack.name])
        assert moved == (stack.role == "head")
        if stack.role == "fixed":
            continue
        std = joint_guide.latent.std()[stack.name]
        assert std.shape == stack.init.shape
    # A's curvature does not depend on the data while B is 0; the head's does.
    stds = {stack.factor: joint_guide.latent.std()[stack.name] for stack in joint_guide.stacks if stack.role != "fixed"}
    assert stds["W"].std() > stds["A"].std()


def test_it_learns_and_its_draws_differ(mlp, xy):
    """With a spread that is held near its start: sixty examples don't pay for so many numbers."""
    method = METHOD.replace(guide=Ivon(hess_init=10.0, beta2=0.999, clip_radius=1e-4, verify=False))
    train = TrainConfig(epochs=40, lr=3.0, weight_decay=5e-3)
    posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=train, progress=False)
    found = posterior.predict(xy, draws=20)
    assert float((found.probs.argmax(-1) == found.labels).double().mean()) > 0.7
    assert float(found.mutual_information.mean()) > 1e-3
    assert posterior.predict(xy, prediction="linearised").probs.shape == (60, 3)


def test_its_precision_is_the_curvature():
    """At the default length: correlation with the Gauss-Newton diagonal at the mean."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 10, generator=generator)
    y = (x @ torch.randn(10, 3, generator=generator)).argmax(1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    posterior = bayespeft.fit(model, (x, y), "ivon", targets=["0"], progress=False)
    decay = posterior.method.train.weight_decay
    found = [1 / (1000 * std.square()) - decay for std in posterior.joint_guide.latent.std().values()]
    laplace = bayespeft.fit(model, (x, y), "laplace_lora_diagonal", start=posterior, progress=False).joint_guide
    exact = [laplace.latent.get_buffer(f"curvature_{name}") / 1000 for name in posterior.joint_guide.latent.std()]
    both = torch.stack([torch.cat([value.flatten() for value in values]) for values in (found, exact)])
    assert float(torch.corrcoef(both)[0, 1]) > 0.9


@pytest.mark.parametrize(("beta2", "steps"), [(None, 100), (0.9, 40), (0.99, 300)])
def test_what_a_running_mean_holds(beta2, steps):
    """The weights of the single estimates, written out."""
    decays = [1 - 2 / (t + 20) if beta2 is None else beta2 for t in range(1, steps + 1)]
    own = [(1 - d) * math.prod(decays[t + 1 :]) for t, d in enumerate(decays)]
    window, left = Ivon(beta2=beta2).averaged(steps)
    assert left == pytest.approx(math.prod(decays))
    assert left + sum(own) == pytest.approx(1)
    assert window == pytest.approx(sum(own) ** 2 / sum(w**2 for w in own))


@pytest.mark.parametrize(
    ("train", "guide", "message"),
    [
        ({"epochs": 4}, {}, r"leave a relative standard error of 0\.\d+ .* at least \d+"),
        ({"epochs": 30}, {"ess": 600.0}, "relative standard error"),
        # Four batches a pass: a step of eight of them is two passes, and one estimate.
        ({"epochs": 10, "accumulate": 8}, {}, r"5 steps, 10 passes .* at least \d\d"),
        ({"epochs": 16}, {"hess_init": 10.0}, "is left of hess_init=10"),
        ({"epochs": 60}, {"beta2": 0.999}, "is left of hess_init=0.1"),
    ],
)
def test_a_spread_that_would_not_be_an_estimate_is_refused(mlp, xy, train, guide, message):
    method = METHOD.replace(guide=METHOD.guide.replace(**guide))
    options = {"adapter": Lora(r=1), "targets": "all-linear", "progress": False}
    with pytest.raises(ConfigError, match=message):
        bayespeft.fit(mlp, xy, method, train=TrainConfig(**train), **options)


def test_more_numbers_than_labels_are_worth_are_refused(mlp, xy):
    """8 (17 + 24 + 15) numbers and 60 examples: 3.73 nats each, of ln 3."""
    with pytest.raises(ConfigError, match=r"over 448 numbers .* of 60: .* costs 3\.73 nats .* worth 1\.1"):
        bayespeft.fit(mlp, xy, METHOD, targets="all-linear", progress=False)


def test_the_official_settings_keep_the_spread_that_they_begin_with(mlp, xy):
    """std = 1 / sqrt(ess hess_init) = 0.0316."""
    posterior = bayespeft.fit(
        mlp, xy, "ivon_official", targets="all-linear", train=TrainConfig(steps=9), progress=False
    )
    for std in posterior.joint_guide.latent.std().values():
        assert float(std.median()) == pytest.approx(1e-3**0.5, rel=0.05)


def test_clipping_would_do_nothing_and_is_refused(mlp, xy):
    with pytest.raises(ConfigError, match=r"clip=1\.0: IVON"):
        bayespeft.fit(mlp, xy, METHOD, targets="all-linear", train=TrainConfig(clip=1.0), progress=False)


@pytest.mark.parametrize(
    "setting",
    [{"kl_weight": 0.5}, {"kl_warmup": 0.1}, {"kl_schedule": "blob"}, {"kl_lr": 0.1}, {"factor_lr": {"A": 1.0}}],
)
def test_what_would_be_ignored_is_refused(mlp, xy, setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=f"{name}=.*would be ignored"):
        bayespeft.fit(mlp, xy, METHOD, targets="all-linear", train=TrainConfig(**setting), progress=False)


@pytest.mark.parametrize("prior", ["latent_prior", "point_prior"])
def test_a_prior_beside_that_of_the_optimiser_is_refused(mlp, xy, prior):
    method = METHOD.replace(**{prior: Normal(scale=1.0)})
    with pytest.raises(ConfigError, match=r"has the prior 'normal'.*Use flat priors"):
        bayespeft.fit(mlp, xy, method, targets="all-linear", progress=False)


def test_a_missing_package_is_named(mlp, xy, monkeypatch):
    monkeypatch.setitem(sys.modules, "ivon", None)
    with pytest.raises(MissingPackageError, match=r"'ivon-opt'.*pip install 'bayespeft\[ivon\]'"):
        bayespeft.fit(mlp, xy, METHOD, targets="all-linear", progress=False)


def test_saved_posteriors_load_without_the_package(mlp, xy, monkeypatch, tmp_path):
    posterior = bayespeft.fit(mlp, xy, QUICK, targets="all-linear", train=TrainConfig(steps=2), progress=False)
    posterior.save(tmp_path / "out")
    monkeypatch.setitem(sys.modules, "ivon", None)
    loaded = bayespeft.load(tmp_path / "out", mlp)
    assert torch.equal(loaded.predict(xy).log_probs, posterior.predict(xy).log_probs)
