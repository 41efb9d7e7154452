"""The variational last layer: its bound against draws, its optimum against the exact posterior, one pass a prediction."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, GuideError
from bayespeft.fitting.assemble import assemble
from bayespeft.guides.variational_last_layer import VariationalLastLayer
from bayespeft.layers.moments import GaussianWeight
from bayespeft.likelihoods.regression import Regression
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.methods.vbll import METHOD
from bayespeft.pretrained.base import quiet

DIAGONAL = METHOD.replace(guide=VariationalLastLayer(covariance="diagonal"))
STEPS = TrainConfig(steps=30, batch_size=8, lr=1e-2)


@pytest.fixture
def fresh(bert, tmp_path):
    """A network whose head nobody has trained."""
    with quiet(), torch.random.fork_rng():
        bert.bert.save_pretrained(tmp_path)
        torch.manual_seed(0)
        return type(bert).from_pretrained(tmp_path, num_labels=3).eval()


@pytest.fixture
def rows(sentences):
    return [{**row, "label": (row["label"] + i % 2) % 3} for i, row in enumerate(sentences)]


def spread_out(guide):
    """Move means and covariances away from their start."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("method", [METHOD, DIAGONAL])
def test_the_objective_is_that_of_endlessly_many_draws_for_quantities_and_a_bound_for_classes(
    fresh, tokenizer, rows, method
):
    with assemble(fresh, source_of(rows), method, tokenizer=tokenizer) as assembly:
        problem = assembly.problem
        guide = problem.joint_guide.latent
        spread_out(guide)
        batch = next(problem.examples.batches(6))
        loss, nll = problem.loss(batch, 0.0)
        assert float(loss.detach()) == pytest.approx(float(nll))
        with torch.no_grad():
            mean, variance = moments(problem, batch)
            draws = guide.draws(4000, torch.Generator().manual_seed(1))
            found = torch.cat(
                [drawn(problem, batch, {k: v[i : i + 1000] for k, v in draws.items()}) for i in range(0, 4000, 1000)]
            )
            # Each output's mean and variance, within 5 standard errors of 4000 draws of the head through the whole network.
            assert ((found.mean(0) - mean).abs() < 5 * (variance / 4000).sqrt()).all()
            assert ((found.var(0) / variance - 1).abs() < 5 * (2 / 4000) ** 0.5).all()
            expected = -torch.log_softmax(found, -1).gather(-1, batch.labels.expand(4000, 6)[..., None])[..., 0]
            sampled, error = expected.mean(), float(expected.mean(1).std()) / 4000**0.5
            jensen = torch.logsumexp(mean + variance / 2, -1) - mean.gather(-1, batch.labels[:, None])[:, 0]
        assert float(nll) == pytest.approx(float(jensen.mean()), rel=1e-5)
        assert float(nll) > float(sampled) - 4 * error
        # And it is deterministic.
        assert torch.equal(problem.loss(batch, 1.0)[0], problem.loss(batch, 1.0)[0])


def moments(problem, batch):
    problem.attachment.bind(problem.joint_guide.moment_weights())
    return problem.likelihood.moments(problem.model, batch)


def drawn(problem, batch, values):
    count = len(next(iter(values.values())))
    problem.attachment.bind(problem.joint_guide.folded_weights(values, len(batch)))
    return problem.likelihood.logits(problem.model, batch.repeat(count)).reshape(count, len(batch), -1)


@torch.no_grad()
def test_the_kl_is_that_of_dense_normals(fresh, tokenizer, rows):
    with assemble(fresh, source_of(rows), METHOD, tokenizer=tokenizer) as assembly:
        problem = assembly.problem
        spread_out(problem.joint_guide.latent)
        total = 0.0
        for stack in problem.joint_guide.latent.stacks:
            q = problem.joint_guide.latent.q()[stack.name]
            if stack.factor == "W":
                covariance = (q.scale_tril @ q.scale_tril.mT)[0].double()
                n = covariance.shape[-1]
                prior = MultivariateNormal(torch.zeros(n).double(), torch.eye(n).double() * 2 / n)
                total += sum(
                    float(kl_divergence(MultivariateNormal(q.loc[0, k].double(), covariance[k]), prior))
                    for k in range(3)
                )
            else:
                total += float(kl_divergence(Normal(q.loc, q.std), Normal(0.0, 2**0.5)).sum())
        batch = next(problem.examples.batches(6))
        with_kl, without = (float(problem.loss(batch, weight)[0]) for weight in (1.0, 0.0))
        points = sum(
            float(kl_divergence(problem.joint_guide.points.q()[name], p))
            for name, p in problem.joint_guide.priors().items()
            if name in problem.joint_guide.points.q()
        )
        assert (with_kl - without) * len(rows) == pytest.approx(total + points, rel=1e-4)


def test_the_optimum_for_quantities_is_the_exact_posterior():
    """Features that don't move: a conjugate linear regression, whose ELBO is known, so that its optimum is the posterior."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(80, 3, generator=generator) @ torch.tensor([[1.0, 0.7, 0], [0, 0.7, 0.5], [0, 0, 1]])
    y = x @ torch.randn(3, 1, generator=generator) + 0.5 * torch.randn(80, 1, generator=generator)
    mean, root = torch.zeros(1, 3, requires_grad=True), torch.eye(3)[None].clone().requires_grad_()
    optimiser = torch.optim.LBFGS([mean, root], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9)
    likelihood, tau = Regression(noise=0.5), 2.0

    def objective():
        optimiser.zero_grad()
        lower = root.tril()
        out = GaussianWeight(mean, lower).linear(x)
        fit = -likelihood.expected_log_likelihood(*out.chunk(2, -1), y).sum()
        kl = (
            0.5 * tau * (mean.square().sum() + lower.square().sum())
            - lower.diagonal(dim1=-2, dim2=-1).abs().log().sum()
        )
        (fit + kl).backward()
        return fit + kl

    optimiser.step(objective)
    precision = x.T @ x / 0.25 + tau * torch.eye(3)
    lower = root.detach()[0].tril()
    torch.testing.assert_close(lower @ lower.T, torch.linalg.inv(precision), atol=1e-4, rtol=1e-3)
    exact = torch.linalg.solve(precision, x.T @ y / 0.25)[:, 0]
    torch.testing.assert_close(mean.detach()[0], exact, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["vbll", "polar_vbll"])
def test_it_learns_and_predicts_in_one_pass(fresh, tokenizer, rows, name, tmp_path):
    posterior = bayespeft.fit(fresh, rows, name, tokenizer=tokenizer, train=STEPS, progress=False)
    assert posterior.history.records[-1].nll < posterior.history.records[0].nll
    found = posterior.predict(rows)
    assert (found.forward_passes, found.draws) == (1, 256)
    sampled = posterior.predict(rows, draws=2000, prediction="sampled", draws_per_pass=500)
    error = (sampled.mutual_information.mean() / 2000) ** 0.5
    torch.testing.assert_close(found.probs, sampled.probs, atol=5 * float(error) + 2e-3, rtol=0)
    assert float(found.mutual_information.mean()) > 0
    posterior.save(tmp_path / "p")
    again = bayespeft.load(tmp_path / "p", fresh, tokenizer=tokenizer)
    assert torch.equal(again.predict(rows).log_probs, found.log_probs)


def test_bounds_of_the_likelihoods():
    mean, variance = torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[0.3, 2.0, 0.1]])
    exact = float(mean[0, 1] - torch.logsumexp(mean + variance / 2, -1)[0])
    found = SequenceClassification().expected_log_likelihood(mean, variance, torch.tensor([1]))
    assert float(found) == pytest.approx(exact)
    # Without variance it is the log-likelihood itself.
    plain = SequenceClassification().expected_log_likelihood(mean, 0 * variance, torch.tensor([1]))
    assert float(plain) == pytest.approx(float(torch.log_softmax(mean, -1)[0, 1]))
    noise = Regression(noise=0.5)
    generator = torch.Generator().manual_seed(0)
    draws = mean.double() + variance.double().sqrt() * torch.randn(200_000, 3, generator=generator).double()
    sampled = noise.log_likelihood(draws, torch.zeros(200_000, 3))
    found = noise.expected_log_likelihood(mean, variance, torch.zeros(1, 3))
    assert float(found) == pytest.approx(float(sampled.mean()), abs=4 * float(sampled.std()) / 200_000**0.5)


def test_what_has_no_output_layer_of_its_own_is_refused(mlp, xy, llama, tokenizer, questions):
    with pytest.raises(GuideError, match="no freshly made head"):
        bayespeft.fit(mlp, xy, "vbll", targets="all-linear", progress=False)
    with pytest.raises(GuideError, match="no freshly made head"):
        bayespeft.fit(llama, questions, "vbll", tokenizer=tokenizer, progress=False)
    with pytest.raises(ConfigError, match="no formula for its expectation"):
        bayespeft.likelihoods.LanguageModelling().expected_log_likelihood(
            torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1)
        )


def test_a_head_of_several_layers_is_refused(tokenizer, sentences):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                           max_position_embeddings=66, num_labels=2, pad_token_id=0)  # fmt: skip
    with pytest.raises(GuideError, match="this network trains 2 layers as its head"):
        bayespeft.fit(RobertaForSequenceClassification(config), sentences, "vbll", tokenizer=tokenizer, progress=False)


def test_a_head_whose_outputs_go_on_is_refused(fresh, tokenizer, rows):
    class Capped(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.config = network, network.config

        def forward(self, input_ids, attention_mask=None):
            return self.network(input_ids, attention_mask=attention_mask).logits[:, :3]

    with pytest.raises(GuideError, match="Capped does something to what its head returns"):
        bayespeft.fit(
            Capped(fresh), rows, "vbll", tokenizer=tokenizer, likelihood="sequence_classification", progress=False
        )


def test_its_bound_counts_rows_by_the_weight_of_their_class(fresh, tokenizer, rows):
    weights = torch.tensor([0.5, 2.0, 0.25])
    with assemble(fresh, source_of(rows), METHOD, tokenizer=tokenizer, class_weight=weights.tolist()) as assembly:
        problem = assembly.problem
        spread_out(problem.joint_guide.latent)
        batch = next(problem.examples.batches(6))
        loss, nll = problem.loss(batch, 0.0)
        with torch.no_grad():
            mean, variance = moments(problem, batch)
        each = -problem.likelihood.expected_log_likelihood(mean, variance, batch.labels)
        by_hand = float((weights[batch.labels] * each).mean())
        assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-5)
        assert float(nll) == pytest.approx(by_hand, rel=1e-5)
