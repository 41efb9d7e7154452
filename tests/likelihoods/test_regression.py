"""Regression end to end: labels, the conjugate posterior, predictions as mixtures, reports, every form of data."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from datasets import Dataset
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Normal as Gauss
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.core import Core
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.fitting.from_pretrained import from_pretrained
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.likelihoods.regression import Regression
from bayespeft.prediction.predictor import Predictor
from bayespeft.prediction.sampling import Replicates
from bayespeft.predictive.average import Rows
from bayespeft.priors.normal import Normal
from bayespeft.report import regression_metrics
from bayespeft.training.loop import run
from tests.training.helpers import Direct, problem

BRIEF: dict[str, Any] = {"targets": "all-linear", "train": TrainConfig(steps=60, lr=1e-2), "progress": False}


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """Sixty points with three targets, smooth functions of five inputs."""
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
    return x, torch.stack([x[:, 0], x[:, 1] - x[:, 2], torch.sin(x[:, 3])], 1)


@pytest.fixture
def posterior(mlp, data):
    return bayespeft.fit(mlp, data, "melora", likelihood=Regression(noise=0.5), adapter=Core(r=2), **BRIEF)


@pytest.fixture
def scores(sentences) -> list[dict[str, Any]]:
    """The sentences, with how often they say "very", as a fraction."""
    return [{"text": row["text"], "label": row["text"].count("very") + 0.5} for row in sentences]


@pytest.fixture
def grader() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForSequenceClassification(config).eval()


def linear(noise: float) -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0.7, 0], [0, 0.7, 0.5], [0, 0, 1]])
    x = torch.randn(150, 3, generator=generator) @ mix
    y = x @ torch.randn(3, generator=generator) + noise * torch.randn(150, generator=generator)
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    nn.init.zeros_(model[0].weight)
    return model, x, y


def test_the_conjugate_posterior_and_its_predictive():
    noise = 2.0
    model, x, y = linear(noise)
    train = TrainConfig(steps=600, batch_size=150, lr=0.05, variational_lr=0.05, clip=0)
    spec, fitted = FullCovariance(init_std=(0.2, 0.2), noise="example"), (x, y)
    likelihood = Regression(noise=noise)
    prior = Normal(scale=0.7)
    with problem(model, fitted, Direct(), spec, latent_prior=prior, likelihood=likelihood, train=train) as p:
        run(p)
        guide = p.joint_guide.latent
        (name,) = guide.mean()
        columns = guide.sqrt_matvec(torch.eye(3))[name].detach().reshape(3, 3)
        precision = fitted[0].T @ fitted[0] / noise**2 + torch.eye(3) / 0.7**2
        covariance = torch.linalg.inv(precision)
        std = covariance.diagonal().sqrt()
        mean = covariance @ fitted[0].T @ fitted[1] / noise**2
        # In units of the exact standard deviations; stochastic gradients leave a few per cent.
        assert ((guide.mean()[name].detach().flatten() - mean) / std).abs().max() < 0.1
        assert ((columns.T @ columns - covariance) / std.outer(std)).abs().max() < 0.1

        predictor = Predictor(p)
        closed = predictor.linearised(p.examples, seed=0)
        sampled = predictor.run(p.examples, 4000, seed=0, draws_per_pass=500)
        variance = (fitted[0] @ (columns.T @ columns) * fitted[0]).sum(-1).double()
        torch.testing.assert_close(closed.epistemic[:, 0], variance, rtol=1e-3, atol=1e-5)
        # Variances of 4000 normal draws have a standard error of sqrt(2 / 4000), means of std / sqrt(4000).
        assert ((sampled.epistemic[:, 0] / variance - 1).abs() < 5 * (2 / 4000) ** 0.5).all()
        assert ((sampled.mean - closed.mean)[:, 0].abs() < 5 * (variance / 4000).sqrt()).all()
        assert float(sampled.log_likelihood.mean()) == pytest.approx(
            float(closed.log_likelihood.mean()), abs=4 * sampled.nll_error
        )


def test_true_model_has_uniform_pit_over_repeated_worlds():
    """Weights from the prior, data from the weights, a new target from the exact posterior's predictive: PIT is uniform."""
    torch.manual_seed(0)
    pits = []
    for _ in range(400):
        w, x, noise = 0.7 * torch.randn(2), torch.randn(6, 2), 0.5
        y = x @ w + noise * torch.randn(6)
        precision = x[:5].T @ x[:5] / noise**2 + torch.eye(2) / 0.49
        covariance = torch.linalg.inv(precision)
        average = Regression(noise=noise).gaussian_average(1, False, Replicates(seed=0, draws=1))
        mean = (x[5] @ covariance @ x[:5].T @ y[:5] / noise**2).double().reshape(1, 1)
        variance = (x[5] @ covariance @ x[5]).double().reshape(1, 1, 1)
        average.add(mean, variance, Rows(torch.arange(1), y[5:].reshape(1, 1)))
        means, stds = average.result(0, 0.0, None).components()
        pits.append(float(regression_metrics.pit(means.numpy(), stds.numpy(), y[5:].reshape(1, 1).numpy())[0, 0]))
    assert stats.kstest(pits, "uniform").pvalue > 1e-3
    held = torch.tensor([abs(p - 0.5) <= 0.45 for p in pits]).double().mean()
    assert abs(float(held) - 0.9) < 4 * (0.9 * 0.1 / 400) ** 0.5


@pytest.mark.parametrize("draws_per_pass", [1, 3, "auto"])
def test_the_prediction_is_the_explicit_mixture(posterior, data, draws_per_pass):
    x, y = data
    found = posterior.predict(data, draws=5, seed=3, keep_draws=True, draws_per_pass=draws_per_pass, batch_size=17)
    means = []
    for draw in range(5):
        with posterior.using(draw, seed=3) as model:
            means.append(model(x).double())
    law = posterior.likelihood
    means = torch.stack(means) * law.spread + torch.tensor(law.center)
    assert isinstance(found, bayespeft.RegressionPredictive)
    torch.testing.assert_close(found.draw_means.double(), means, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.mean, means.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.epistemic, means.var(0, correction=0), atol=1e-5, rtol=1e-3)
    density = Gauss(means, 0.5).log_prob(y.double()).sum(-1).logsumexp(0) - math.log(5)
    torch.testing.assert_close(found.log_likelihood, density, atol=1e-3, rtol=1e-3)
    assert found.nll_error > 0
    assert torch.equal(found.labels, y)


@pytest.mark.parametrize("sampling", ["plain", "antithetic", "sobol"])
def test_automatic_draws_stop_at_the_tolerance(posterior, data, sampling):
    found = posterior.predict(data, draws="auto", sampling=sampling, tolerance=0.05)
    assert found.nll_error <= 0.05 or found.draws == 256
    assert found.draws >= 8


def test_the_mean_and_the_closed_form_draw_nothing(posterior, data):
    mean = posterior.predict(data, draws=0)
    with posterior.using("mean") as model:
        law = posterior.likelihood
        said = model(data[0]).double() * law.spread + torch.tensor(law.center)
        torch.testing.assert_close(mean.mean, said, atol=1e-5, rtol=1e-4)
    assert (mean.draws, float(mean.epistemic.max())) == (0, 0)
    closed = posterior.predict(data, prediction="linearised")
    torch.testing.assert_close(closed.mean, mean.mean, atol=1e-5, rtol=1e-4)
    assert (closed.draws, closed.backward_passes, closed.draw_means) == (0, 3, None)
    assert float(closed.epistemic.min()) > 0


@pytest.mark.parametrize(
    "guide", ["mle", "melora_full", "laplace_lora", "laplace_core", "ensemble", "swag", "mc_dropout"]
)
def test_methods_fit_report_save_and_load(mlp, data, guide, tmp_path):
    fitted = bayespeft.fit(mlp, data, guide, likelihood=Regression(noise=0.5), validation=data, **BRIEF)
    assert fitted.history.records[-1].nll < fitted.history.records[0].nll
    assert any(record.validation and record.validation["rmse"] > 0 for record in fitted.history.records)
    report = fitted.report(data, resamples=50, name="data")
    assert isinstance(report, bayespeft.RegressionReport)
    assert (report.n, report.outputs, report.noise) == (60, 3, 0.5)
    assert (report.epistemic > 0) == (guide != "mle")
    fitted.save(tmp_path / "p")
    loaded = bayespeft.load(tmp_path / "p", mlp)
    assert loaded.likelihood == fitted.likelihood
    assert loaded.likelihood.noise == 0.5
    one, other = (p.predict(data, draws=2) for p in (fitted, loaded))
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.log_likelihood, other.log_likelihood)


def test_post_hoc_methods_take_the_start_s_likelihood(mlp, data):
    mle = bayespeft.fit(mlp, data, "mle", likelihood=Regression(noise=0.3), **BRIEF)
    fitted = bayespeft.fit(mlp, data, "laplace_lora_diagonal", start=mle, progress=False)
    assert fitted.likelihood == mle.likelihood
    assert fitted.likelihood.noise == 0.3
    assert math.isfinite(float(fitted.joint_guide.latent.log_evidence))


@pytest.mark.parametrize("guide", ["tfb", "temperature"])
def test_methods_of_probabilities_are_refused_before_training(mlp, data, guide):
    with pytest.raises(ConfigError, match=rf"method '{guide}'.*means nothing for likelihood 'regression'"):
        bayespeft.fit(mlp, data, guide, likelihood="regression", validation=data, **BRIEF)


def test_there_is_no_temperature(posterior, data):
    with pytest.raises(ConfigError, match=r"a temperature divides logits.*'regression'"):
        posterior.with_temperature(data)


def small(seed=0, outputs=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, outputs))


FREELY: dict[str, Any] = {"targets": "all-linear", "progress": False, "likelihood": "regression"}


@pytest.mark.parametrize("guide", ["melora", "mle", "laplace_lora", "ensemble"])
def test_targets_in_other_units_are_the_same_fit(data, guide):
    """A thousand times as large and far from zero: the same predictions in these units, and the same number of steps."""
    x, y = data[0], data[1][:, :1] + 0.2 * torch.randn(60, 1, generator=torch.Generator().manual_seed(3))
    train = TrainConfig(steps=80, lr=1e-2) if guide == "ensemble" else TrainConfig(most_steps=120)
    found = []
    for scale, shift in ((1.0, 0.0), (1000.0, 5000.0)):
        fitted = bayespeft.fit(small(), (x, y * scale + shift), guide, train=train, **FREELY)
        predicted = fitted.predict((x, y * scale + shift), draws=4, keep_draws=True)
        law = fitted.likelihood
        assert law.standardise
        assert law.center == pytest.approx([float(y.mean()) * scale + shift], rel=1e-5)
        assert law.spread == pytest.approx(float(y.std(correction=0)) * scale, rel=1e-5)
        nll = -float(predicted.log_likelihood.mean()) - math.log(scale)
        found.append((fitted.history.steps, predicted.mean, predicted.std, law.noise, nll))
        found[-1] = (found[-1][0], (found[-1][1] - shift) / scale, found[-1][2] / scale, law.noise / scale, nll)
    one, other = found
    assert one[0] == other[0]
    torch.testing.assert_close(one[1], other[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(one[2], other[2], atol=1e-3, rtol=1e-3)
    assert one[3:] == pytest.approx(other[3:], rel=1e-3, abs=1e-3)
    # And it is a fit: most of what the targets vary by is explained.
    assert float((one[1] - y).square().mean()) < 0.5 * float(y.var())


def test_the_noise_is_that_of_the_data(data):
    """Linear data seen through a known noise: what held-out rows say of it is within 4 standard errors and the error of w."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=generator)
    y = 50 + 10 * (x[:, :1] + 0.3 * torch.randn(400, 1, generator=generator))
    model = nn.Sequential(nn.Linear(5, 1))
    for train in (TrainConfig(steps=300, lr=2e-2), TrainConfig(steps="auto", lr=2e-2)):
        law = bayespeft.fit(model, (x, y), "mle", adapter="full", train=train, **FREELY).likelihood
        assert law.noise == pytest.approx(3, rel=4 * (1 / 800) ** 0.5 + 5 / 400)
    given = bayespeft.fit(
        model, (x, y), "mle", **{**FREELY, "likelihood": Regression(noise=2.0)}, train=TrainConfig(steps=3)
    )
    assert given.likelihood.noise == 2.0


def test_a_network_that_is_in_the_targets_units_already_stays_in_them(data):
    x, y = data[0], 300 + 20 * data[1][:, :1]
    model = small()
    with torch.no_grad():
        weights = torch.linalg.lstsq(torch.cat([model[:2](x), torch.ones(60, 1)], 1), y).solution
        model[2].weight.copy_(weights[:-1].T)
        model[2].bias.copy_(weights[-1])
    still = TrainConfig(steps=1, lr=0.0)
    fitted = bayespeft.fit(model, (x, y), "mle", train=still, **FREELY)
    assert not fitted.likelihood.standardise
    torch.testing.assert_close(fitted.predict((x, y), draws=0).mean, model(x).double(), atol=1e-3, rtol=1e-5)
    with torch.no_grad():
        error = float((model(x) - y).square().mean().sqrt())
    assert fitted.likelihood.noise == pytest.approx(error, rel=1e-2)
    asked = bayespeft.fit(model, (x, y), "mle", train=still, **{**FREELY, "likelihood": Regression(standardise=True)})
    assert asked.likelihood.standardise


def test_a_network_alone_says_its_units(data, tmp_path):
    x, y = data[0], 300 + 20 * data[1][:, :1]
    fitted = bayespeft.fit(small(), (x, y), "mle", train=TrainConfig(steps=40, lr=1e-2), **FREELY)
    with pytest.warns(
        UserWarning, match=r"standard deviations of the training targets: y = \(\d+\.?\d*\) \+ .* \* output"
    ):
        alone = fitted.merged_model()
    law = fitted.likelihood
    said = alone(x).double() * law.spread + torch.tensor(law.center)
    torch.testing.assert_close(said, fitted.predict((x, y), draws=0).mean, atol=1e-3, rtol=1e-5)
    plain = bayespeft.fit(
        small(), (x, y), "mle", train=TrainConfig(steps=2), **{**FREELY, "likelihood": Regression(standardise=False)}
    )
    plain.merged_model()


def test_targets_that_are_all_the_same_are_no_error(data):
    fitted = bayespeft.fit(small(), (data[0], torch.full((60,), 7.0)), "mle", train=TrainConfig(steps=30), **FREELY)
    assert fitted.likelihood.spread == 1
    assert float((fitted.predict(data[0], draws=0).mean - 7).abs().max()) < 1


def test_one_target_as_a_vector_or_a_column(data):
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    x, y = data[0], data[1][:, 0]
    vector, column = (bayespeft.fit(model, (x, t), "mle", likelihood="regression", **BRIEF) for t in (y, y[:, None]))
    assert vector.history.records[-1].nll == column.history.records[-1].nll
    assert vector.predict((x, y)).labels.shape == (60, 1)
    whole = bayespeft.fit(model, (x, torch.arange(60)), "mle", likelihood="regression", **BRIEF)
    assert whole.predict((x, torch.arange(60))).labels.dtype == torch.float32


def test_loaders(mlp, data):
    loader = DataLoader(TensorDataset(*data), batch_size=20)
    fitted = bayespeft.fit(mlp, loader, "melora", likelihood="regression", **BRIEF)
    torch.testing.assert_close(fitted.predict(loader, draws=2).mean, fitted.predict(data, draws=2).mean)
    wrong = DataLoader(TensorDataset(data[0], data[1][:, :1]), batch_size=20)
    with pytest.raises(DataError, match=r"shape \(20, 1\), but the network has 3 outputs"):
        fitted.predict(wrong)


@pytest.mark.parametrize("form", [list, Dataset.from_list])
def test_rows_of_text_with_a_number_train_the_head(grader, tokenizer, scores, form, tmp_path):
    fitted = bayespeft.fit(
        grader, form(scores), "melora", tokenizer=tokenizer, progress=False, train=TrainConfig(epochs=15, lr=1e-2)
    )
    assert fitted.likelihood.kind == "regression", "one output is a regression"
    assert fitted.heads == {"classifier"}
    assert fitted.history.records[-1].nll < fitted.history.records[0].nll
    rmse = fitted.report(scores, resamples=20).rmse.value
    assert rmse < torch.tensor([row["label"] for row in scores]).std()
    tokenised = [{"input_ids": tokenizer(row["text"])["input_ids"], "labels": [row["label"]]} for row in scores]
    torch.testing.assert_close(fitted.predict(tokenised).mean, fitted.predict(scores).mean, atol=1e-5, rtol=1e-4)
    assert fitted.predict([{"text": row["text"]} for row in scores[:3]]).log_likelihood is None


def test_several_numbers_a_row_even_as_many_as_tokens(grader, tokenizer):
    grader.classifier, grader.config.num_labels = nn.Linear(16, 4), 4
    rows = [{"text": text, "label": [0.5, 1.5, -1.0, 2.0]} for text in ("the cat", "a dog", "good fine")]
    assert {len(tokenizer(row["text"])["input_ids"]) for row in rows} == {4}
    fitted = bayespeft.fit(
        grader, rows, "mle", tokenizer=tokenizer, likelihood="regression", progress=False, train=TrainConfig(steps=2)
    )
    assert fitted.predict(rows).labels.tolist() == [row["label"] for row in rows]


def test_a_saved_posterior_is_opened_by_name(grader, tokenizer, scores, tmp_path):
    grader.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    fitted = bayespeft.fit(grader, scores, "melora", tokenizer=tokenizer, progress=False, train=TrainConfig(steps=5))
    fitted.save(tmp_path / "p")
    opened = from_pretrained(tmp_path / "p", str(tmp_path / "base"), device="cpu")
    assert opened.report(scores, resamples=10).rmse.value == pytest.approx(
        fitted.report(scores, resamples=10).rmse.value
    )


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("good", r"row 1: column 'label' is 'good'.*sequence_classification"),
        (["a"], r"row 1: column 'label' is \['a'\]"),
        (math.nan, "column 'label' of row 1 is nan"),
        (math.inf, "'labels' of row 1 is inf"),
    ],
)
def test_labels_that_are_no_numbers(grader, tokenizer, scores, label, message):
    scores[1]["label"] = label
    with pytest.raises(DataError, match=message):
        bayespeft.fit(grader, scores, "mle", tokenizer=tokenizer, progress=False)


def test_labels_of_the_wrong_width_or_not_finite(mlp, data):
    x, y = data
    for labels in (y[:, 0], y[:, :2], y[..., None]):
        with pytest.raises(DataError, match=r"column 'label', 'labels' or y.*3 outputs.*\(60, 3\)"):
            bayespeft.fit(mlp, (x, labels), "mle", likelihood="regression", **BRIEF)
    y[7, 1] = math.nan
    with pytest.raises(DataError, match="the label of example 7: NaN"):
        bayespeft.fit(mlp, (x, y), "mle", likelihood="regression", **BRIEF)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: (y * 5000).double() + 1e9, "subtract a constant from them"),
        (lambda y: (y * 5000).long() + 10**9, "subtract a constant from them"),
        (lambda y: y * 1e30, "with a standard deviation of .*choose other units"),
        (lambda y: y * 1e-30, "with a standard deviation of .*choose other units"),
        (lambda y: y + 4e5, "subtract a constant from them"),
    ],
)
def test_labels_that_single_precision_can_not_compute_with(mlp, data, change, message):
    x, y = data
    with pytest.raises(DataError, match=message):
        bayespeft.fit(mlp, (x, change(y)), "mle", likelihood="regression", **BRIEF)


def test_floats_for_a_classifier_name_the_way_out(mlp, data):
    with pytest.raises(DataError, match="likelihood='regression'"):
        bayespeft.fit(mlp, (data[0], data[1][:, 0]), "mle", **BRIEF)


def test_an_output_without_an_axis_of_targets_is_an_error(data):
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 1), nn.Flatten(0))
    with pytest.raises(AttachError, match=r"regression expects means of shape \(examples, targets\)"):
        bayespeft.fit(model, (data[0], data[1][:, 0]), "mle", likelihood="regression", **BRIEF)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.inf])
def test_noise_is_positive_and_finite(noise):
    with pytest.raises(ConfigError, match="noise"):
        Regression(noise=noise)


@pytest.mark.parametrize(("small", "warned"), [(0.01, True), (0.0, True), (0.5, False)])
def test_targets_of_very_different_sizes_are_told_that_they_have_one_noise(small, warned):
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = torch.stack([10 * x[:, 0], 10 * small * x[:, 1]], 1)
    told = pytest.warns(UserWarning, match="one noise is for all of them") if warned else nullcontext()
    with told:
        fitted = bayespeft.fit(nn.Linear(5, 2), (x, y), "mle", **FREELY, train=TrainConfig(steps=2))
    assert fitted.likelihood.spread == pytest.approx(float((y - y.mean(0)).square().mean().sqrt()), rel=1e-4)
