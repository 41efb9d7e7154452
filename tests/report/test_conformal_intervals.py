from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.normal import RegressionPredictive
from bayespeft.report.conformal_intervals import ConformalIntervals, IntervalReport
from tests.report.predictions import Always, Never


def predicted(draws: Any, labels: Any = None, noise: float = 0.5) -> RegressionPredictive:
    """An equal mixture of N(draws, noise^2), (S, n, d), with its draws kept."""
    means = torch.as_tensor(draws)
    return RegressionPredictive(
        labels=None if labels is None else torch.as_tensor(labels).float(), draws=len(means), forward_passes=len(means),
        seconds=0.0, mean=means.mean(0), epistemic=means.var(0, unbiased=False), noise=noise, draw_means=means.float(),
    )  # fmt: skip


def sample(n: int, rng: np.random.Generator, d: int = 1) -> tuple[Any, Any]:
    """Targets whose spread goes with the example, and laws that claim half of it."""
    spread = rng.uniform(0.2, 2, (n, 1))
    center = rng.normal(size=(n, d))
    return center + 0.5 * spread * rng.normal(size=(4, n, d)), center + spread * rng.normal(size=(n, d))


@pytest.mark.parametrize(("d", "n", "alpha"), [(1, 39, 0.1), (1, 100, 0.2), (3, 60, 0.1)])
def test_intervals_hold_as_promised_whatever_the_law(d: int, n: int, alpha: float) -> None:
    """All outputs together: between 1 - alpha and 1 - alpha + 1 / (n + 1), within 4 standard errors of 150 repeats."""
    rng = np.random.default_rng(0)
    held, own = [], []
    for _ in range(150):
        means, labels = sample(n + 40, rng, d)
        found = ConformalIntervals.fit(predicted(means[:, :n], labels[:n]), Never(), alpha=alpha)
        report = found.report(predicted(means[:, n:], labels[n:]))
        held.append(report.coverage.value)
        own.append(report.unadjusted.value)
    error = 4 * np.std(held) / 150**0.5
    assert 1 - alpha - error < np.mean(held) < 1 - alpha + 1 / (n + 1) + error
    assert np.mean(own) < 1 - alpha - 0.05


def test_an_interval_is_the_laws_own_with_a_margin_in_its_width() -> None:
    means, labels = sample(50, np.random.default_rng(1))
    data = predicted(means, labels)
    found = ConformalIntervals.fit(data, Never(), alpha=0.2)
    low, high = found.intervals(data)
    narrow = replace(found, margin=0.0).intervals(data)
    width = narrow[1] - narrow[0]
    assert low == pytest.approx(narrow[0] - found.margin * width)
    assert high == pytest.approx(narrow[1] + found.margin * width)
    # On the data it was fitted on: the quantile's rank.
    known = data.labels.double().numpy()
    assert ((low <= known + 1e-9) & (known <= high + 1e-9)).sum() == math.ceil(51 * 0.8)


def test_too_few_examples_promise_by_intervals_without_end() -> None:
    means, labels = sample(5, np.random.default_rng(2))
    found = ConformalIntervals.fit(predicted(means, labels), Never(), alpha=0.1)
    low, high = found.intervals(predicted(means))
    assert found.margin == math.inf
    assert np.isneginf(low).all()
    assert np.isposinf(high).all()


def test_report_prints_and_reads_itself() -> None:
    means, labels = sample(200, np.random.default_rng(3))
    found = ConformalIntervals.fit(predicted(means, labels), Always(predicted(means, labels)), alpha=0.1)
    report = found.report("data")
    assert report.coverage.low < report.coverage.value < report.coverage.high
    assert IntervalReport.from_json(report.to_json()) == report
    assert "promised: 90 %, fitted on 200" in str(report)


def test_what_can_not_be_used_is_an_error() -> None:
    means, labels = sample(30, np.random.default_rng(4))
    data = predicted(means, labels)
    found = ConformalIntervals.fit(data, Never())
    with pytest.raises(DataError, match="a conformal interval needs labels"):
        ConformalIntervals.fit(predicted(means), Never())
    with pytest.raises(ConfigError, match="alpha is 1"):
        ConformalIntervals.fit(data, Never(), alpha=1)
    with pytest.raises(ConfigError, match="data was predicted with 2 draws, and validation data with 4"):
        found.intervals(predicted(means[:2]))
    with pytest.raises(ConfigError, match="averaged and not kept"):
        found.intervals(replace(data, draw_means=None))
