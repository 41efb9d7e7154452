"""Temperature scaling: a known temperature comes back, the NLL is at its minimum, and the posterior is left alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError
from bayespeft.prediction.temperature import GRID, HIGHEST, LOWEST, ONE, best_temperature, fit_temperature, of_all_rows
from tests.report.predictions import drawn

OPTIONS = {"targets": "all-linear", "train": TrainConfig(steps=60, lr=1e-2), "progress": False}


def nll(draw_log_probs: torch.Tensor, labels: torch.Tensor, temperature: float) -> float:
    log_probs = torch.log_softmax(draw_log_probs.double() / temperature, -1)
    averaged = torch.logsumexp(log_probs, 0) - math.log(len(log_probs))
    return float(-averaged.gather(-1, labels[:, None]).mean())


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_a_known_temperature_is_recovered(true):
    """Labels drawn from softmax(logits / T): the estimate is maximum likelihood, with its standard error."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 4, generator=generator, dtype=torch.float64)
    probs = torch.softmax(logits / true, -1)
    labels = torch.multinomial(probs, 1, generator=generator)[:, 0]
    found = fit_temperature(drawn(torch.log_softmax(logits, -1)[None], labels).tempered_nll)
    # Fisher information of ln T: the variance, under the labels' law, of sum_k (1[y = k] - p_k) logit_k / T.
    mean = (probs * logits).sum(-1, keepdim=True)
    information = float((probs * (logits - mean) ** 2).sum() / true**2)
    assert abs(math.log(found / true)) < 4 * information**-0.5


@given(st.integers(1, 4), st.floats(0.2, 5.0), st.integers(0, 2**31))
def test_the_nll_is_at_a_minimum(draws, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.log_softmax(scale * torch.randn(draws, 200, 3, generator=generator), -1)
    labels = torch.randint(0, 3, (200,), generator=generator)
    found = fit_temperature(drawn(log_probs, labels).tempered_nll)
    best = nll(log_probs, labels, found)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        other = min(max(found * factor, LOWEST), HIGHEST)
        assert best <= nll(log_probs, labels, other) + 1e-9


def test_logits_need_no_normalisation():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 50, 3, generator=generator)
    labels = torch.randint(0, 3, (50,), generator=generator)
    shifted = logits + torch.randn(2, 50, 1, generator=generator)
    found, other = (fit_temperature(drawn(values, labels).tempered_nll) for values in (logits, shifted))
    assert found == pytest.approx(other, rel=1e-4)


def test_what_is_always_right_gets_the_lowest_temperature_and_no_less():
    assert (LOWEST, HIGHEST) == (0.05, 20.0)  # as its docstring says
    log_probs = torch.log_softmax(5 * torch.eye(3), -1)[None]
    found = fit_temperature(drawn(log_probs, torch.arange(3)).tempered_nll)
    assert LOWEST <= found < 0.5
    assert nll(log_probs, torch.arange(3), found) < 1e-6
    # Confidently wrong about everything: the flattest there is.
    assert fit_temperature(drawn(log_probs, (torch.arange(3) + 1) % 3).tempered_nll) == pytest.approx(HIGHEST)


def test_rows_that_are_all_right_have_no_temperature_and_are_told_of(mlp, xy):
    """A handful of validation rows, all of them right: every prediction would be as good as certain, without a word."""
    posterior = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    found = posterior.predict(xy)
    right = found.probs.argmax(1) == found.labels
    some = torch.nonzero(right).flatten()[:4]
    with pytest.warns(UserWarning, match="no temperature is best for these 4 rows"):
        tempered = posterior.with_temperature((xy[0][some], xy[1][some]))
    assert tempered.temperature < 0.2
    # One row of which another class is as probable says how far to go.
    labels = found.probs[some].argsort(1)[:, -1].index_put((torch.tensor([0]),), found.probs[some[0]].argsort()[1])
    assert LOWEST < posterior.with_temperature((xy[0][some], labels)).temperature <= HIGHEST


def test_labels_that_go_against_the_predictions_are_told_of(mlp, xy):
    posterior = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    with pytest.warns(UserWarning, match="no temperature is best for these 60 rows, whose labels go against"):
        tempered = posterior.with_temperature((xy[0], (posterior.predict(xy).probs.argmax(1) + 1) % 3))
    assert tempered.temperature == pytest.approx(HIGHEST)


@pytest.mark.parametrize("temperature", [-1.0, 0.0, float("inf"), float("nan")])
def test_a_temperature_that_is_none_is_refused(mlp, xy, temperature):
    posterior = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    posterior.temperature = temperature
    with pytest.raises(ConfigError, match="it divides logits, so a positive number is needed"):
        posterior.predict(xy)


def test_where_nothing_decides_it_is_one():
    assert fit_temperature(drawn(torch.zeros(2, 5, 3), torch.tensor([0, 1, 2, 0, 1])).tempered_nll) == 1.0


@pytest.fixture
def other(xy):
    """Data of the same kind, half of it with labels that the inputs don't tell."""
    x = torch.randn(80, 5, generator=torch.Generator().manual_seed(5))
    labels = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    labels[::2] = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(6))
    return x, labels


@pytest.mark.parametrize("method", ["mle", "melora"])
def test_the_original_is_left_alone(mlp, xy, other, method):
    posterior = bayespeft.fit(mlp, xy, method, **OPTIONS)
    before = posterior.predict(xy, draws=3)
    cooled = posterior.with_temperature(other)
    assert posterior.temperature == 1.0
    assert cooled.temperature > 1.1
    assert torch.equal(posterior.predict(xy, draws=3).log_probs, before.log_probs)
    assert cooled.predict(other).entropy.mean() > posterior.predict(other).entropy.mean()
    # Again, over itself: it starts anew rather than on top.
    assert cooled.with_temperature(other).temperature == cooled.temperature


@pytest.mark.parametrize("method", ["mle", "melora", "ensemble"])
def test_the_averaged_prediction_is_at_its_minimum(mlp, xy, other, method):
    cooled = bayespeft.fit(mlp, xy, method, **OPTIONS).with_temperature(other, draws=5)

    def at(temperature: float) -> float:
        found = replace(cooled, temperature=temperature).predict(other, draws=5)
        return float(-found.log_probs.gather(-1, found.labels[:, None]).mean())

    best = at(cooled.temperature)
    assert all(best <= at(cooled.temperature * factor) + 1e-9 for factor in (0.9, 0.99, 1.01, 1.1))


def test_a_temperature_divides_the_logits_of_the_linearised_prediction_too(mlp, xy, other):
    posterior = bayespeft.fit(mlp, xy, "melora", **OPTIONS)
    cooled = replace(posterior, temperature=3.0)
    one, other_ = (p.predict(xy, prediction="linearised", keep_draws=True).draw_log_probs for p in (posterior, cooled))
    torch.testing.assert_close(torch.log_softmax(one / 3, -1), other_, atol=1e-5, rtol=1e-5)


def test_it_is_saved(mlp, xy, other, tmp_path):
    cooled = bayespeft.fit(mlp, xy, "temperature", validation=other, **OPTIONS)
    assert cooled.temperature != 1.0
    cooled.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", mlp)
    assert loaded.temperature == cooled.temperature
    assert torch.equal(loaded.predict(xy).log_probs, cooled.predict(xy).log_probs)


def test_the_method_is_mle_and_one_number(mlp, xy, other):
    cooled = bayespeft.fit(mlp, xy, "temperature", validation=other, **OPTIONS)
    mle = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    assert torch.equal(replace(cooled, temperature=1.0).predict(xy).log_probs, mle.predict(xy).log_probs)
    assert cooled.temperature == mle.with_temperature(other).temperature


def test_any_method_can_have_one(mlp, xy, other):
    method = bayespeft.methods()["melora"].replace(temperature=True)
    assert bayespeft.fit(mlp, xy, method, validation=other, **OPTIONS).temperature != 1.0


def test_without_unseen_data_there_is_none(mlp, xy):
    with pytest.raises(DataError, match="pass validation="):
        bayespeft.fit(mlp, xy, "temperature", **OPTIONS)
    posterior = bayespeft.fit(mlp, xy, "mle", **OPTIONS)
    with pytest.raises(DataError, match="a temperature needs labels"):
        posterior.with_temperature((xy[0],))


def logistic(x: torch.Tensor, y: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return the weights of a ridge logistic regression, by Newton's method; y is 0 or 1."""
    w = torch.zeros(x.shape[1], dtype=x.dtype)
    for _ in range(30):
        p = torch.sigmoid(x @ w)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * torch.eye(len(w), dtype=x.dtype)
        w = w - torch.linalg.solve(hessian, x.T @ (p - y) + ridge * w)
    return w


def test_a_fit_to_all_rows_is_nearer_to_its_temperature_than_folds_are():
    """Logistic regressions: temperatures of three folds are too high, and cost new rows more, by two standard errors."""
    generator = torch.Generator().manual_seed(0)

    def rows(n: int, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(n, len(truth), generator=generator, dtype=torch.float64)
        return x, torch.bernoulli(torch.sigmoid(x @ truth), generator=generator)

    def curve(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        logits = (x @ w)[None] / torch.tensor(GRID, dtype=x.dtype)[:, None]
        targets = y.expand(len(GRID), -1)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return losses.mean(1)

    errors, costs = [], []
    for _ in range(60):
        truth = torch.randn(15, generator=generator, dtype=torch.float64) / 2
        x, y = rows(150, truth)
        fold = torch.arange(150) % 3
        parts = [(fold != k, fold == k) for k in range(3)]
        held = sum(curve(x[out], y[out], logistic(x[rest], y[rest], 0.01)) for rest, out in parts) / 3
        fit = logistic(x, y, 0.01)
        new = curve(*rows(5000, truth), fit)
        best = GRID[int(new.argmin())]
        alone = best_temperature(held.tolist(), 150)
        temperatures = alone, of_all_rows(alone, 2 / 3, float(held.min()), float(curve(x, y, fit)[ONE]))
        errors.append([math.log(t / best) for t in temperatures])
        costs.append([float(new[min(range(len(GRID)), key=lambda i: abs(GRID[i] - t))]) for t in temperatures])
    alone, both = torch.tensor(errors).T
    cost = torch.tensor(costs)[:, 0] - torch.tensor(costs)[:, 1]
    assert alone.mean() > 2 * alone.std() / 60**0.5
    assert both.mean().abs() < 2 * both.std() / 60**0.5
    assert cost.mean() > 2 * cost.std() / 60**0.5


def test_what_a_fit_knows_by_heart_says_nothing_of_its_temperature():
    assert of_all_rows(2.0, 2 / 3, 0.5, 0.0) == 2
    assert of_all_rows(2.0, 2 / 3, 0.5, 0.1) == pytest.approx(2**0.8)
    assert of_all_rows(0.5, 2 / 3, 0.5, 0.4) == pytest.approx(0.5 ** (2 / 3))
    assert of_all_rows(2.0, 0.9, 0.5, 0.4) == pytest.approx(2**0.9)
    assert of_all_rows(2.0, 2 / 3, 0.0, 0.0) == 2


def test_the_grid_is_even_in_the_logarithm_and_has_no_temperature_among_its_own():
    """Held-out rows choose among these, and 1 must be one that they can choose."""
    assert (GRID[0], GRID[-1]) == (0.25, 8.0)
    assert pytest.approx(1, abs=1e-12) == GRID[ONE]
    steps = [math.log(b / a) for a, b in itertools.pairwise(GRID)]
    assert max(steps) == pytest.approx(min(steps))
    assert max(steps) < 0.12
