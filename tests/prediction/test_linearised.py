"""The linearised predictive: exact where the network is linear in its latents, near sampling where the spread is small."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import bayespeft
from bayespeft import registry
from bayespeft.adapters.attach import frozen, mode
from bayespeft.adapters.core import Core
from bayespeft.adapters.full import Full
from bayespeft.config import TrainConfig
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, FitError
from bayespeft.fitting.assemble import assemble
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.guides.laplace_diagonal import LaplaceDiagonal
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.guides.low_rank import LowRank
from bayespeft.guides.matrix_normal import MatrixNormal
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.likelihoods.regression import Regression
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.prediction.jacobian import jacobian
from bayespeft.prediction.predictor import Predictor
from bayespeft.training.trainer import Trainer
from tests.training.helpers import Direct, problem

ROWS, INPUTS, CLASSES = 6, 3, 4
GAUSSIANS = [
    MeanField(init_std=(0.3, 0.9)),
    FullCovariance(init_std=(0.3, 0.9)),
    LowRank(init_std=(0.3, 0.9), rank=2),
    MatrixNormal(init_std=(0.3, 0.9)),
]
LAPLACE = [LaplaceDiagonal(), LaplaceKronecker(), LaplaceFull()]


def predictor(p: Any, temperature: float = 1.0) -> Predictor:
    return Predictor(p, temperature)


def scatter(p: Any, size: float) -> None:
    """Move every parameter of q: points and means off their start, spread off its diagonal."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in p.joint_guide.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)


def linear() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    model = nn.Sequential(nn.Linear(INPUTS, CLASSES))
    x, y = torch.randn(ROWS, INPUTS, generator=generator), torch.randint(CLASSES, (ROWS,), generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model, (x, y)


def law_of_logits(p: Any, x: Tensor) -> MultivariateNormal:
    """The exact law for y = (W0 + W) x + b, W ~ q, from draws' directions pushed forward; batch (ROWS,)."""
    guide = p.joint_guide.latent
    (name,) = guide.mean()
    directions = guide.sqrt_matvec(torch.eye(guide.noise_size))[name].detach().double()[:, 0]
    moved = torch.einsum("pkj,nj->npk", directions, x.double())
    mean = p.model(x).detach().double() + x.double() @ guide.mean()[name][0].detach().double().T
    return MultivariateNormal(mean, moved.mT @ moved)


def contrasts(draws: Tensor) -> Tensor:
    """Log-probabilities of draws as logits against the first class: (draws, n, K - 1)."""
    return (draws[..., 1:] - draws[..., :1]).double()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("spec", [*GAUSSIANS, *LAPLACE], ids=lambda spec: spec.kind)
def test_exact_for_a_network_linear_in_its_latents(spec, temperature):
    model, (x, y) = linear()
    with problem(model, (x, y), Direct(), spec, train=TrainConfig(steps=20)) as p:
        if spec.variational:
            scatter(p, 0.3)
        else:
            Trainer(p).fit()
        law = law_of_logits(p, x)
        ready = predictor(p, temperature)
        found = ready.linearised(p.examples, seed=0, keep_draws=True, draws=2**13)
        contrast = torch.cat([-torch.ones(CLASSES - 1, 1), torch.eye(CLASSES - 1)], 1).double()
        drawn = temperature * contrasts(found.draw_log_probs)
        mean, spread = law.mean @ contrast.T, contrast @ law.covariance_matrix @ contrast.T
        std = spread.diagonal(dim1=-2, dim2=-1).sqrt()
        # A Sobol sequence of 2^13 points leaves about a thousandth.
        assert ((drawn.mean(0) - mean) / std).abs().max() < 0.01
        off = drawn - drawn.mean(0)
        covariance = torch.einsum("snc,snd->ncd", off, off) / len(off)
        assert ((covariance - spread) / (std.unsqueeze(-1) * std.unsqueeze(-2))).abs().max() < 0.02
        # Against independent draws of the logits, and against draws of the weights.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            logits = law.sample((20_000,)) / temperature
        sampled = ready.run(p.examples, draws=4000, seed=1, draws_per_pass=1000, keep_draws=True)
        for probs in (torch.softmax(logits, -1), sampled.draw_log_probs.double().exp()):
            error = probs.std(0) / len(probs) ** 0.5
            assert ((found.probs - probs.mean(0)).abs() < 4 * error + 1e-4).all()


def test_what_it_reports():
    model, (x, y) = linear()
    with problem(model, (x, y), Direct(), GAUSSIANS[1]) as p:
        found = predictor(p).linearised(p.examples, seed=0, batch_size=4)
        assert (found.draws, found.forward_passes, found.backward_passes) == (256, 1, CLASSES - 1)
        assert torch.equal(found.labels, y)
        assert found.draw_log_probs is None
        assert 0 < found.nll_error < 0.01
        torch.testing.assert_close(found.probs.sum(-1), torch.ones(ROWS).double())
        assert (found.mutual_information > 0).all()
        assert not found.information_is_low
        # Groups of a scrambled sequence are nearly alike, so that little is lacking.
        assert 0 < float(found.information_bias.max()) < 1e-3
        again = predictor(p).linearised(p.examples, seed=0, batch_size=4)
        other = predictor(p).linearised(p.examples, seed=1, batch_size=4)
        assert torch.equal(found.log_probs, again.log_probs)
        assert not torch.equal(found.log_probs, other.log_probs)


@pytest.mark.parametrize("spec", [MeanField, FullCovariance])
def test_near_sampling_where_the_spread_is_small(mlp, xy, spec):
    # Averages differ in second order of the spread: a third of it leaves a ninth.
    probs, variances = [], []
    with problem(mlp, xy, Core(r=2), spec(init_std=(0.02, 0.02)), train=TrainConfig(steps=40, lr=3e-2)) as p:
        Trainer(p).optimise()
        ready, guide = predictor(p), p.joint_guide.latent
        for std in (0.03, 0.01):
            with torch.no_grad():
                for name, parameter in guide.raw.items():
                    log_std = torch.full(guide.loc[name].shape, std).log()
                    parameter.copy_(log_std if spec is MeanField else torch.diag_embed(log_std.flatten(1)))
            linearised = ready.linearised(p.examples, seed=0, draws=2**12, keep_draws=True)
            sampled = ready.run(p.examples, 2**10, seed=0, draws_per_pass=128, sampling="sobol", keep_draws=True)
            probs.append(float((linearised.probs - sampled.probs).abs().max()))
            both = [contrasts(one.draw_log_probs).var(0).sum() for one in (linearised, sampled)]
            variances.append(abs(float(both[0] / both[1]) - 1))
    assert probs[1] < 0.15 * probs[0] + 5e-4
    assert max(variances) < 0.02


@pytest.mark.parametrize("batch_size", [1, 5, 24])
@pytest.mark.parametrize("method", ["melora", "melora_full", "laplace_lora"])
def test_padding_and_batch_size_do_not_matter(bert, sentences, tokenizer, method, batch_size):
    posterior = bayespeft.fit(
        bert, sentences, method, tokenizer=tokenizer, train=TrainConfig(steps=15, lr=1e-2), progress=False
    )
    whole = posterior.predict(sentences, prediction="linearised", batch_size=7)
    other = posterior.predict(sentences, prediction="linearised", batch_size=batch_size)
    torch.testing.assert_close(other.log_probs, whole.log_probs, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(other.expected_entropy, whole.expected_entropy, atol=2e-4, rtol=2e-4)
    assert whole.labels.tolist() == [row["label"] for row in sentences]
    alone = posterior.predict([{"text": row["text"]} for row in sentences[:3]], prediction="linearised")
    assert alone.labels is None
    torch.testing.assert_close(alone.log_probs, whole.log_probs[:3], atol=2e-4, rtol=2e-4)


def test_the_method_decides_and_zero_draws_is_the_mean(mlp, xy):
    options = {"targets": "all-linear", "train": TrainConfig(steps=5), "progress": False}
    posterior = bayespeft.fit(mlp, xy, "laplace_core", **options)
    # Three classes have two differences.
    assert posterior.predict(xy).backward_passes == 2
    assert posterior.predict(xy, prediction="sampled").backward_passes == 0
    mean = posterior.predict(xy, draws=0)
    assert (mean.draws, float(mean.mutual_information.max())) == (0, pytest.approx(0, abs=1e-9))
    linearise = {"laplace_lora", "laplace_lora_diagonal", "laplace_last_layer", "laplace_core"}
    assert all(registry.get("methods", name).guide.prediction == "linearised" for name in linearise)


def test_a_point_is_refused(mlp, xy):
    with (
        problem(mlp, xy, Core(r=2), Point()) as p,
        pytest.raises(ConfigError, match=r"'linearised' needs a Gaussian posterior, PointGuide is none.*'sampled'"),
    ):
        predictor(p).linearised(p.examples, seed=0)


def test_an_output_that_is_not_a_number_is_an_error(mlp, xy):
    with problem(mlp, xy, Core(r=2), GAUSSIANS[0]) as p:
        with torch.no_grad():
            mlp[4].bias[0] = torch.inf
        with pytest.raises(FitError, match="row 0 is not a number"):
            predictor(p).linearised(p.examples, seed=0)


@pytest.mark.parametrize("likelihood", [SequenceClassification(), Regression()], ids=lambda one: one.kind)
def test_a_covariance_that_is_not_finite_is_an_error_that_names_the_row(mlp, xy, likelihood):
    """The output is finite, its derivative is not: the square root's at zero."""

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp

        def forward(self, x: Tensor) -> Tensor:
            hit = (x == xy[0][41]).all(-1, keepdim=True)
            y = self.body(x)
            return y + torch.where(hit, y - y.detach(), torch.ones_like(y)).sqrt()

    data = xy if likelihood.discrete else (xy[0], torch.zeros(60, 3))
    with problem(Breaks(), data, Core(r=2), GAUSSIANS[0], likelihood=likelihood) as p:
        scatter(p, 0.1)
        with pytest.raises(FitError, match="row 41 is not a number"):
            predictor(p).linearised(p.examples, seed=0, batch_size=16)


@pytest.mark.parametrize("spec", [GAUSSIANS[1], LaplaceKronecker()], ids=lambda spec: spec.kind)
def test_the_network_is_left_as_it_was(mlp, xy, spec):
    mlp.train()
    with problem(mlp, xy, Core(r=2), spec) as p:
        predictor(p).linearised(p.examples, seed=0)
        assert mlp.training
        assert all(q.requires_grad and q.grad is None for q in mlp.parameters())
        assert all(q.grad is None for q in p.joint_guide.parameters())


def one_by_one(p: Any) -> dict[str, Tensor]:
    """Jacobians with shared weights, an example and an output at a time, each example alone in its batch."""
    names = list(p.joint_guide.latent.mean())
    rows: dict[int, dict[str, Tensor]] = {}
    for batch in p.examples.batches(1):
        values = {name: value.detach().clone() for name, value in p.joint_guide.mean().items()}
        leaves = [values[name].requires_grad_() for name in names]
        p.attachment.bind(p.joint_guide.shared_weights(values))
        (logits,) = p.likelihood.logits(p.model, batch)
        gradients = [torch.autograd.grad(logit, leaves, retain_graph=True, allow_unused=True) for logit in logits]
        rows[int(batch.index)] = {
            name: torch.stack([torch.zeros_like(leaf) if g[i] is None else g[i] for g in gradients])
            for i, (name, leaf) in enumerate(zip(names, leaves, strict=True))
        }
    return {name: torch.stack([rows[i][name] for i in range(len(rows))]) for name in names}


@pytest.mark.parametrize("spec", LAPLACE[:2], ids=lambda spec: spec.kind)
def test_jacobians_reach_adapters_heads_and_their_biases(bert, sentences, tokenizer, spec):
    method = registry.get("methods", "laplace_lora").replace(guide=spec)
    with assemble(bert, source_of(sentences), method, tokenizer=tokenizer) as assembly:
        p = assembly.problem
        scatter(p, 0.1)
        assert {k.role for k in p.joint_guide.latent.stacks} == {"latent", "point", "head"}
        assert any(k.init.dim() == 2 and k.role == "head" for k in p.joint_guide.latent.stacks), "a bias"
        expected = one_by_one(p)
        for local in p.jacobians():
            assert torch.equal(local.labels, local.batch.labels)
            assert set(local.by_stack) == set(expected)
            for name, found in local.by_stack.items():
                torch.testing.assert_close(found, expected[name][local.batch.index], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["melora_full", "laplace_lora"])
def test_jacobians_of_label_tokens(llama, tokenizer, questions, name):
    with assemble(llama, source_of(questions), registry.get("methods", name), tokenizer=tokenizer) as assembly:
        p = assembly.problem
        scatter(p, 0.1)
        expected = one_by_one(p)
        for local in p.jacobians():
            assert local.logits.shape == (len(local.batch), 3)
            for stack, found in local.by_stack.items():
                torch.testing.assert_close(found, expected[stack][local.batch.index], atol=1e-4, rtol=1e-3)


def test_jacobians_of_weights_and_biases_trained_whole(mlp, xy):
    with problem(mlp, xy, Full(), LaplaceDiagonal()) as p:
        expected = one_by_one(p)
        assert {len(value.shape) for value in expected.values()} == {4, 5}
        with frozen(mlp), mode(mlp):
            for batch in p.examples.batches(16):
                (local,) = jacobian(p, batch, 1)
                for name, found in local.by_stack.items():
                    torch.testing.assert_close(found, expected[name][batch.index], atol=1e-5, rtol=1e-4)


def test_a_layer_that_the_output_does_not_use_has_a_jacobian_of_zeros(xy):
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(5, 3), nn.Linear(5, 7)

        def forward(self, x: Tensor) -> Tensor:
            self.idle(x)
            return self.used(x)

    with problem(Idle(), xy, Direct(), FullCovariance()) as p:
        ((local,),) = (jacobian(p, batch, 1) for batch in p.examples.batches(60))
        assert float(local.by_stack["W_7x5"].abs().max()) == 0
        assert float(local.by_stack["W_3x5"].abs().max()) > 0


@pytest.mark.parametrize("wrong", [{"draws": -3}, {"sampling": "bogus"}, {"tolerance": 0.0}])
def test_impossible_settings_are_refused_though_they_would_not_be_used(mlp, xy, wrong):
    posterior = bayespeft.fit(
        mlp, xy, "melora", targets=["2"], adapter=Core(r=2), train=TrainConfig(steps=1), progress=False
    )
    with pytest.raises(ConfigError):
        posterior.predict(xy, prediction="linearised", **wrong)


def test_little_memory_means_small_parts_and_the_same_prediction(mlp, xy, monkeypatch):
    with problem(mlp, xy, Core(r=2), FullCovariance(init_std=(0.3, 0.9))) as p:
        scatter(p, 0.1)
        whole = predictor(p).linearised(p.examples, seed=0)
        calls = []
        monkeypatch.setattr(
            "bayespeft.prediction.jacobian.jacobian", lambda *args: calls.append(len(args[1])) or jacobian(*args)
        )
        monkeypatch.setattr("bayespeft.prediction.jacobian.free_memory", lambda device: 0)
        parts = predictor(p).linearised(p.examples, seed=0)
    assert calls == [1] * 60
    torch.testing.assert_close(parts.log_probs, whole.log_probs, atol=1e-5, rtol=1e-4)


def test_its_error_is_how_far_another_seed_moves_the_nll():
    """Eight groups give an error to about a quarter; over 40 seeds its root mean square is the spread to within 4 errors."""
    model, data = linear()
    with problem(model, data, Direct(), GAUSSIANS[1]) as p:
        found = [predictor(p).linearised(p.examples, seed=seed, batch_size=16) for seed in range(40)]
        spread = float(torch.stack([f.log_likelihood.mean() for f in found]).std())
        stated = float(torch.tensor([f.nll_error for f in found]).square().mean().sqrt())
        assert stated == pytest.approx(spread, rel=4 * (1 / (2 * 39) + 1 / (2 * 7 * 40)) ** 0.5)


def test_inference_mode_changes_nothing(mlp, xy):
    """Neither around the call, nor around what made the data."""
    posterior = bayespeft.fit(mlp, xy, "melora", train=TrainConfig(steps=2), targets="all-linear", progress=False)
    expected = posterior.predict(xy[0], prediction="linearised").log_probs
    with torch.inference_mode():
        made = xy[0].clone()
        assert torch.equal(posterior.predict(made, prediction="linearised").log_probs, expected)
    assert torch.equal(posterior.predict(made, prediction="linearised").log_probs, expected)
    again = bayespeft.fit(
        mlp, (made, xy[1]), "melora", train=TrainConfig(steps=2), targets="all-linear", progress=False
    )
    assert torch.equal(again.predict(xy[0], prediction="linearised").log_probs, expected)
