"""Laplace approximations against dense Gauss-Newton matrices, the exact evidence, and each other."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import Tensor, nn

import bayespeft
from bayespeft import registry
from bayespeft.adapters.core import Core
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.errors import ConfigError, DataError, FitError, GuideError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.laplace import LaplaceGuide, believed_precision
from bayespeft.guides.laplace_diagonal import LaplaceDiagonal
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.guides.laplace_last_layer import LaplaceLastLayer
from bayespeft.layers.factors import StackedFactor
from bayespeft.likelihoods.regression import Regression
from bayespeft.prediction.folding import SHARE
from bayespeft.prediction.predictor import Predictor
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal
from bayespeft.training.problem import Problem
from bayespeft.training.trainer import Trainer
from tests.training.helpers import Direct, problem

SPECS = [LaplaceDiagonal(), LaplaceKronecker(), LaplaceFull()]
specs = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
BRIEF = TrainConfig(steps=30, lr=2e-2)


def fitted(p: Problem) -> LaplaceGuide:
    guide = p.joint_guide.latent
    assert isinstance(guide, LaplaceGuide)
    guide.fit(Trainer(p))
    return guide


def gauss_newton(p: Problem) -> Tensor:
    """H (P, P) over all random stacks, from one dense Jacobian of the whole data."""
    mean = {name: value.detach() for name, value in p.joint_guide.mean().items()}
    names = list(p.joint_guide.latent.mean())
    batch = next(iter(p.examples.batches(len(p.examples))))

    def logits(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [mean[name].numel() for name in names])
        moved = {name: part.reshape(mean[name].shape) for name, part in zip(names, parts, strict=True)}
        p.attachment.bind(p.joint_guide.shared_weights({**mean, **moved}))
        return p.likelihood.logits(p.model, batch)

    point = torch.cat([mean[name].flatten() for name in names])
    jacobian = torch.autograd.functional.jacobian(logits, point).double()
    probs = torch.softmax(logits(point).detach(), -1).double()
    middle = torch.diag_embed(probs) - probs.unsqueeze(-1) * probs.unsqueeze(-2)
    return torch.einsum("nkp,nkl,nlq->pq", jacobian, middle, jacobian)


def covariance(guide: LaplaceGuide) -> Tensor:
    """Sigma (P, P), by pushing the identity."""
    pushed = guide.sqrt_matvec(torch.eye(guide.noise_size))
    root = torch.cat([value.flatten(1) for value in pushed.values()], 1).detach().double()
    return root.T @ root


def inverse(matrix: Tensor, precision: float) -> Tensor:
    return torch.linalg.inv(matrix + precision * torch.eye(len(matrix)))


def close(found: Tensor, expected: Tensor) -> None:
    scale = expected.diagonal().sqrt()
    torch.testing.assert_close(found / scale.outer(scale), expected / scale.outer(scale), atol=2e-4, rtol=1e-3)


def test_full_is_the_inverse_of_the_dense_gauss_newton_matrix(mlp, xy):
    with problem(mlp, xy, Core(r=2), LaplaceFull(), latent_prior=Normal(scale=0.5), train=BRIEF) as p:
        guide = fitted(p)
        expected = inverse(gauss_newton(p), float(guide.precision))
        close(covariance(guide), expected)
        std = torch.cat([value.flatten() for value in guide.std().values()])
        torch.testing.assert_close(std.double(), expected.diagonal().sqrt(), rtol=1e-3, atol=1e-5)
        # Layers share what the data say: their correlations are what this guide is there for.
        assert expected[:4, 4:].abs().max() > 0.05 * expected.diagonal().max()


@specs
def test_little_memory_means_small_parts_and_the_same_curvature(spec, mlp, xy, monkeypatch):
    with problem(mlp, xy, Core(r=2), spec.replace(prior_precision=2.0), train=BRIEF) as p:
        p = replace(p, classes=3)
        whole = covariance(fitted(p))
        assert {len(local.logits) for local in p.jacobians()} == {16, 60 % 16}
        numbers = sum(loc.numel() for loc in p.joint_guide.latent.mean().values())
        five = 5.5 * 4 * numbers * (2 + 6 * 3) / SHARE
        monkeypatch.setattr("bayespeft.prediction.jacobian.free_memory", lambda device: five)
        assert {len(local.logits) for local in p.jacobians()} == {5, 16 % 5, 60 % 16 % 5}
        monkeypatch.setattr("bayespeft.prediction.jacobian.free_memory", lambda device: 0)
        assert {len(local.logits) for local in p.jacobians()} == {1}
        close(covariance(fitted(p)), whole)


def test_full_spans_stacks_of_different_shapes(mlp, xy):
    adapter = Lora(r=1, latent=("A", "B"))
    with problem(mlp, xy, adapter, LaplaceFull(prior_precision=2.0), train=BRIEF) as p:
        assert len(p.joint_guide.latent.mean()) > 2
        close(covariance(fitted(p)), inverse(gauss_newton(p), 2.0))


def test_diagonal_is_the_diagonal_of_the_dense_matrix(mlp, xy):
    with problem(mlp, xy, Lora(r=2), LaplaceDiagonal(prior_precision=2.0), train=BRIEF) as p:
        guide = fitted(p)
        assert set(guide.mean()) == {stack.name for stack in p.joint_guide.stacks}, "A and B, not the latent A alone"
        close(covariance(guide), torch.diag(1 / (gauss_newton(p).diagonal() + 2.0)))


def test_kronecker_is_one_shampoo_step_for_matrices_and_exact_for_vectors(mlp, xy):
    with problem(mlp, xy, Full(), LaplaceKronecker(prior_precision=3.0), train=BRIEF) as p:
        guide = fitted(p)
        dense, found, at = gauss_newton(p), covariance(guide), 0
        for name, loc in guide.mean().items():
            for layer in range(len(loc)):
                size = loc[layer].numel()
                block = slice(at, at + size)
                at += size
                exact = dense[block, block]
                if loc.dim() == 3:
                    m, n = loc.shape[1:]
                    blocks = exact.reshape(m, n, m, n)
                    # sum G G^T and sum G^T G are partial traces of the block.
                    rows, columns = torch.einsum("abcb->ac", blocks), torch.einsum("abac->bc", blocks)
                    exact = torch.kron(rows, columns) / rows.trace()
                    torch.testing.assert_close(exact.trace(), dense[block, block].trace())
                close(found[block, block], inverse(exact, 3.0))
                outside = torch.ones(len(found), dtype=torch.bool)
                outside[block] = False
                assert found[block][:, outside].abs().max() == 0, name
        assert at == len(found)


def test_kronecker_is_full_where_the_curvature_is_a_kronecker_product():
    # Zero weights: every example has the same probabilities, so H = Lambda kron sum x x^T.
    model = nn.Sequential(nn.Linear(3, 4, bias=False))
    nn.init.zeros_(model[0].weight)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(50, 3, generator=generator), torch.randint(4, (50,), generator=generator)
    found = []
    for spec in (LaplaceKronecker(prior_precision=0.5), LaplaceFull(prior_precision=0.5)):
        with problem(model, data, Direct(), spec) as p:
            p.started = True
            guide = fitted(p)
            found.append((covariance(guide), float(guide.log_evidence)))
    close(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)


def test_evidence_of_logistic_regression_is_the_integral():
    model = nn.Sequential(nn.Linear(1, 2, bias=False))
    nn.init.zeros_(model[0].weight)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 1, generator=generator)
    y = (torch.sigmoid(x[:, 0]) > torch.rand(300, generator=generator)).long()
    train = TrainConfig(steps=200, batch_size=300, lr=0.1)
    with problem(model, (x, y), Direct(), LaplaceFull(prior_precision=1.0), train=train) as p:
        guide = fitted(p)
    grid = torch.linspace(-4, 4, 121, dtype=torch.double)
    weights = torch.cartesian_prod(grid, grid)
    log_probs = torch.log_softmax(weights.unsqueeze(1) * x.double(), -1)[:, torch.arange(300), y].sum(1)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(weights).sum(1)
    exact = torch.logsumexp(log_probs + prior, 0) + 2 * math.log(8 / 120)
    assert float(guide.log_evidence) == pytest.approx(float(exact), abs=0.05)


@specs
def test_the_precision_has_the_highest_evidence(mlp, xy, spec):
    with problem(mlp, xy, Core(r=2), spec, train=BRIEF) as p:
        guide = fitted(p)
        best, evidence, start = float(guide.precision), float(guide.log_evidence), guide.mean()
        p.joint_guide.stacks = tuple(
            replace(k, init=p.joint_guide.mean()[k.name].detach()) for k in p.joint_guide.stacks
        )
        p.started = True
        assert math.isfinite(evidence)
        for factor in (0.5, 0.9, 1.1, 2.0):
            guide.prior_precision = best * factor
            guide.fit(Trainer(p))
            assert float(guide.precision) == pytest.approx(best * factor)
            assert float(guide.log_evidence) < evidence
        assert all(torch.equal(value, start[name]) for name, value in guide.mean().items())


def test_full_evidence_is_that_of_dense_determinants(mlp, xy):
    with problem(mlp, xy, Core(r=2), LaplaceFull(prior_precision=5.0), train=BRIEF) as p:
        guide = fitted(p)
        matrix = gauss_newton(p)
        batch = next(iter(p.examples.batches(60)))
        p.attachment.bind(p.joint_guide.shared_weights(p.joint_guide.mean()))
        log_probs = torch.log_softmax(p.likelihood.logits(p.model, batch).detach().double(), -1)
        likelihood = log_probs.gather(1, batch.labels[:, None]).sum()
        offset = torch.cat([(guide.mean()[k.name].detach() - k.center).flatten() for k in guide.stacks]).double()
        half_log_det = 0.5 * torch.logdet(matrix + 5.0 * torch.eye(len(matrix)))
        expected = likelihood - 2.5 * offset @ offset + 0.5 * len(matrix) * math.log(5.0) - half_log_det
        assert float(guide.log_evidence) == pytest.approx(float(expected), rel=1e-5)


@specs
def test_batch_size_does_not_matter(mlp, xy, spec):
    found = []
    for batch_size in (7, 60):
        with problem(mlp, xy, Lora(r=2), spec, train=TrainConfig(batch_size=batch_size)) as p:
            generator = torch.Generator().manual_seed(0)
            p.joint_guide.stacks = tuple(
                replace(k, init=0.5 * torch.randn(k.init.shape, generator=generator)) for k in p.joint_guide.stacks
            )
            p.started = True
            guide = fitted(p)
            found.append((covariance(guide), float(guide.precision)))
    close(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)


@specs
def test_training_stops_at_the_same_point_as_map(mlp, xy, spec):
    options = {"targets": "all-linear", "train": BRIEF, "progress": False}
    method = registry.get("methods", "map")
    point = bayespeft.fit(mlp, xy, method, **options)
    posterior = bayespeft.fit(mlp, xy, method.replace(guide=spec), **options)
    again = bayespeft.fit(mlp, xy, method.replace(guide=spec), **options, start=point)
    values = point.joint_guide.mean()
    for other in (posterior, again):
        assert all(torch.equal(value, values[name]) for name, value in other.joint_guide.mean().items())
    assert posterior.history.steps == 30
    assert again.history.steps == 0
    draws = [one.predict(xy[0], draws=3, prediction="sampled").log_probs for one in (posterior, again)]
    torch.testing.assert_close(draws[0], draws[1])


def a_stack(
    name: str = "C_2x4", shape: tuple[int, ...] = (3, 2, 4), prior: object = Normal(scale=0.5)
) -> StackedFactor:
    init = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return StackedFactor(name, name[0], ("x",) * shape[0], "latent", init, prior, torch.ones(shape))


@specs
def test_before_fit_it_is_as_wide_as_the_prior(spec):
    guide = spec.build([a_stack(), a_stack("b_5", (2, 5))], torch.Generator())
    assert math.isnan(guide.log_evidence)
    for std in guide.std().values():
        torch.testing.assert_close(std.detach(), torch.full_like(std, 0.5))


def test_the_precision_believed_before_the_data_is_that_of_the_mean_variance():
    stacks = [a_stack(prior=Normal(scale=1.0)), a_stack("b", (8, 3), Normal(scale=3.0)), a_stack("f", prior=Flat())]
    assert believed_precision(stacks) == pytest.approx(1 / 5)
    assert believed_precision(stacks[2:]) == believed_precision([]) == 1.0


@specs
def test_push_and_pull_are_adjoint_over_stacks_after_a_fit(mlp, xy, spec):
    with problem(mlp, xy, Lora(r=2, latent=("A", "B")), spec, train=BRIEF) as p:
        guide = fitted(p).double()
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(2, 3, guide.noise_size, generator=generator).double()
        pushed = guide.sqrt_matvec(noise)
        gradients = {name: torch.randn(value.shape, generator=generator).double() for name, value in pushed.items()}
        left = sum((pushed[name] * gradients[name]).flatten(2).sum(-1) for name in pushed)
        torch.testing.assert_close(left, (noise * guide.sqrt_rmatvec(gradients)).sum(-1), rtol=1e-6, atol=1e-6)


def test_full_refuses_to_be_split_into_stacks():
    guide = LaplaceFull().build([a_stack()], torch.Generator())
    with pytest.raises(GuideError, match="one Gaussian over all stacks: 'C_2x4' has no distribution of its own"):
        guide.q()


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_exact_for_bayesian_linear_regression(noise):
    """One output, so that a diagonal in the eigenbasis of X^T X is the exact precision for the full guide."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(40, 3, generator=generator), torch.randn(3, generator=generator)
    y = x @ w + noise * torch.randn(40, generator=generator)
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    nn.init.zeros_(model[0].weight)
    tau = 1 / 0.7**2
    train = TrainConfig(steps=1500, batch_size=40, lr=0.02, clip=0)
    spec = LaplaceFull(prior_precision=tau)
    prior = Normal(scale=0.7)
    likelihood = Regression(noise=noise)
    with problem(model, (x, y), Direct(), spec, latent_prior=prior, likelihood=likelihood, train=train) as p:
        guide = fitted(p)
        xd, yd = x.double(), y.double()
        precision = xd.T @ xd / noise**2 + tau * torch.eye(3)
        close(covariance(guide), torch.linalg.inv(precision))
        mean = torch.linalg.solve(precision, xd.T @ yd / noise**2)
        (found,) = guide.mean().values()
        torch.testing.assert_close(found.flatten().double(), mean, atol=2e-3, rtol=1e-3)
        marginal = torch.distributions.MultivariateNormal(
            torch.zeros(40).double(), xd @ xd.T / tau + noise**2 * torch.eye(40)
        )
        assert float(guide.log_evidence) == pytest.approx(float(marginal.log_prob(yd)), abs=1e-3)
        # And the linearised prediction is the textbook's: N(x m, x S x^T + noise^2).
        predictor = Predictor(p)
        predictive = predictor.linearised(p.examples, seed=0)
        variance = (xd @ torch.linalg.inv(precision) * xd).sum(-1) + noise**2
        torch.testing.assert_close(predictive.mean[:, 0], xd @ mean, atol=5e-3, rtol=1e-3)
        torch.testing.assert_close(predictive.variance[:, 0], variance, atol=0, rtol=1e-3)


@specs
@pytest.mark.parametrize("tau", [2.0, "marginal_likelihood"])
def test_rescaled_it_is_what_a_fit_under_the_other_noise_finds(spec, tau):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator)
    y = x[:, :2] + 0.5 * torch.randn(20, 2, generator=generator)
    found, train = [], TrainConfig(steps=1, lr=1e-9)
    for noise in (0.5, 0.2):
        model = nn.Sequential(nn.Linear(3, 2, bias=False))
        nn.init.eye_(model[0].weight)
        likelihood = Regression(noise=noise)
        chosen = spec.replace(prior_precision=tau)
        with problem(model, (x, y), Direct(), chosen, likelihood=likelihood, train=train) as p:
            found.append((fitted(p), float(p.likelihood.log_likelihood(x @ model[0].weight.detach().T, y).sum())))
    (moved, _), (other, log_likelihood) = found
    moved.rescale((0.5 / 0.2) ** 2, log_likelihood)
    close(covariance(moved), covariance(other))
    assert float(moved.log_evidence) == pytest.approx(float(other.log_evidence), rel=1e-4)


@pytest.mark.parametrize("started", [False, True])
def test_noise_and_spread_together_make_up_the_error_on_rows_that_the_point_had_not_seen(started):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 8, generator=generator)
    data = x, x[:, :1] + 0.5 * torch.randn(60, 1, generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    options = {"targets": "all-linear", "likelihood": "regression", "progress": False, "seed": 0}
    options["train"] = TrainConfig(most_steps=100)
    judges = {"validation": (x + 0.1, data[1])} if started else {}
    point = bayespeft.fit(model, data, "map", **options, **judges)
    start = {"start": point, **judges} if started else {}
    posterior = bayespeft.fit(model, data, "laplace_lora", **options, **start)
    whole, noise = point.likelihood.noise, posterior.likelihood.noise
    assert whole is not None
    assert noise is not None
    assert noise < 0.95 * whole
    variance = posterior.predict(data).variance.mean()
    assert float(variance) == pytest.approx(whole**2, rel=0.05)


@specs
def test_regression_curvature_is_that_of_squares(spec):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator)
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    likelihood = Regression(noise=0.5)
    data = x, x[:, :2].clone()
    with problem(model, data, Direct(), spec.replace(prior_precision=1.0), likelihood=likelihood, train=BRIEF) as p:
        precision = torch.linalg.inv(covariance(fitted(p)))
        # H = I kron X^T X / noise^2; a Kronecker product, so that only the diagonal guide loses some.
        expected = torch.kron(torch.eye(2), (x.T @ x).double()) / 0.25 + torch.eye(6)
        if isinstance(spec, LaplaceDiagonal):
            expected = torch.diag(expected.diagonal())
        torch.testing.assert_close(precision, expected, atol=1e-2, rtol=1e-3)


@specs
def test_labels_that_the_likelihood_does_not_know_are_refused(mlp, xy, spec):
    data = xy[0], torch.zeros(60, 3)
    with problem(mlp, data, Core(r=2), spec, train=BRIEF) as p:
        p.started = True
        with pytest.raises(DataError, match="one integer per example"):
            Trainer(p).fit()


def test_an_output_that_is_not_a_number_is_an_error(mlp, xy):
    with problem(mlp, xy, Core(r=2), LaplaceFull()) as p:
        p.joint_guide.stacks = tuple(replace(k, init=torch.full_like(k.init, math.nan)) for k in p.joint_guide.stacks)
        p.started = True
        with pytest.raises(FitError, match="log likelihood of the training data is not finite"):
            Trainer(p).fit()


class Kink(nn.Module):
    """The identity, whose derivative is not a number."""

    def forward(self, x):
        return x + (0 * x).sqrt()


@pytest.mark.parametrize("spec", [LaplaceFull(), LaplaceKronecker(), LaplaceDiagonal()], ids=lambda spec: spec.kind)
def test_a_curvature_that_is_not_a_number_is_an_error(mlp, xy, spec):
    with problem(nn.Sequential(mlp, Kink()), xy, Core(r=2), spec) as p:
        p.started = True
        with pytest.raises(FitError, match="curvature of the training data is not finite"):
            Trainer(p).fit()


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        (LaplaceFull(), (24 + 10) ** 2),
        (LaplaceLastLayer(), (24 + 10) ** 2),
        (LaplaceKronecker(), 3 * (4 + 16) + 2 * (25 + 1)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_would_take_more_than_half_of_the_memory_is_refused(spec, numbers, monkeypatch):
    stacks = [a_stack(), a_stack("b_5", (2, 5))]

    def free(count: int) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    here = torch.device("cpu")
    free(2 * 36 * numbers)
    spec.check_memory(stacks, here)
    free(2 * 36 * numbers - 1)
    with pytest.raises(GuideError, match=rf"'{spec.kind}' would take {36 * numbers:,} bytes.* are free.*Use guide"):
        spec.check_memory(stacks, here)


def test_a_large_factor_is_refused_before_anything_is_allocated():
    zeros = torch.zeros(1).expand(480, 8, 65536)
    large = StackedFactor("A", "A", ("x",) * 480, "latent", zeros, Normal(scale=1.0), zeros)
    for spec in (LaplaceFull(), LaplaceKronecker()):
        with pytest.raises(GuideError, match="would take"):
            spec.check_memory([large], torch.device("cpu"))


@pytest.mark.parametrize("spec", [LaplaceFull(), LaplaceLastLayer()], ids=["full", "last layer"])
def test_a_covariance_that_a_cpu_takes_long_for_is_refused_with_its_cost(spec, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 50))
    zeros = torch.zeros(1).expand(1, 1000, 17)
    head = StackedFactor("W", "W", ("x",), "head", zeros, Normal(scale=1.0), zeros)
    with pytest.raises(GuideError, match=r"17,000 numbers.* about 41 minutes.*'laplace_kronecker'"):
        spec.check_memory([head], torch.device("cpu"))
    fits = StackedFactor("W", "W", ("x",), "head", zeros[:, :588], Normal(scale=1.0), zeros[:, :588])
    spec.check_memory([fits], torch.device("cpu"))


@pytest.mark.parametrize("bad", [0.0, -1.0, "evidence"])
def test_bad_precisions_are_refused(bad):
    with pytest.raises(ConfigError, match="prior_precision"):
        LaplaceFull(prior_precision=bad)


@pytest.mark.parametrize("precision", [2.5, "marginal_likelihood"])
@specs
def test_settings_survive_json(spec, precision):
    spec = spec.replace(prior_precision=precision)
    assert GuideSpec.model_validate(json.loads(spec.model_dump_json())) == spec
    assert "laplace" not in registry.names("guides")


def test_last_layer_covers_the_head_alone(bert, sentences, tokenizer):
    posterior = bayespeft.fit(
        bert, sentences, "laplace_last_layer", tokenizer=tokenizer, train=TrainConfig(steps=20, lr=1e-2), progress=False
    )
    names = set(posterior.joint_guide.latent.mean())
    assert names == {stack.name for stack in posterior.joint_guide.stacks if stack.role == "head"}
    assert posterior.joint_guide.latent.noise_size == 2 * 17
    # Linear in its latents: the linearised predictive is the one of sampled heads.
    sampled = posterior.predict(sentences, draws=1000, prediction="sampled", keep_draws=True)
    error = sampled.draw_log_probs.exp().std(0) / 1000**0.5
    assert ((posterior.predict(sentences).probs - sampled.probs).abs() < 4 * error + 2e-3).all()
    assert sampled.draw_log_probs.exp().std(0).min() > 1e-3


def test_last_layer_needs_a_head(mlp, xy):
    with pytest.raises(GuideError, match="no freshly made head"):
        bayespeft.fit(mlp, xy, "laplace_last_layer", targets="all-linear", progress=False)
