"""The report on texts: ratios and their intervals, by simulation; what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bayespeft.errors import DataError
from bayespeft.report.language import LanguageReport


def test_figures_are_those_by_hand():
    report = LanguageReport.from_log_likelihood([-2.0, -6.0], [1, 3], method="MLE", name="two")
    assert (report.nll.value, report.nll_per_token.value, report.n, report.tokens) == (4.0, 2.0, 2, 4)
    assert report.perplexity.value == pytest.approx(math.exp(2))
    assert str(report).startswith("two, MLE: perplexity 7.39 over 4 tokens of 2 targets")
    # Both targets say 2 nats per token; another one, as long as the longer, may say anything.
    unseen = 1 - 0.025**0.5
    share = unseen * 1.5 / (unseen * 1.5 + 1 - unseen)
    assert report.nll_per_token.low == pytest.approx(2 * (1 - share))
    assert report.nll_per_token.high == math.inf


def test_the_interval_of_the_ratio_covers_it():
    rng = np.random.default_rng(0)
    runs, held = 200, 0
    for run in range(runs):
        tokens = rng.integers(1, 20, size=100)
        nll = rng.gamma(2.0 * tokens) / 2  # mean 1 per token
        found = LanguageReport.from_log_likelihood(-nll, tokens, resamples=200, seed=run).nll_per_token
        held += found.low <= 1 <= found.high
    assert abs(held / runs - 0.95) < 4 * math.sqrt(0.95 * 0.05 / runs)


@pytest.mark.parametrize(
    ("log_likelihood", "tokens", "message"),
    [
        ([], [], "one of each per example"),
        ([-1.0], [1, 2], "one of each per example"),
        ([-1.0, -math.inf], [1, 1], "example 1 has the log-likelihood -inf"),
        ([-1.0], [0], "over 0 tokens"),
        ([-1.0, -1.0], [1, math.nan], "example 1 .* over nan tokens"),
        ([-1.0, -1.0], [1, math.inf], "example 1 .* over inf tokens"),
    ],
)
def test_unusable_input_is_refused(log_likelihood, tokens, message):
    with pytest.raises(DataError, match=message):
        LanguageReport.from_log_likelihood(log_likelihood, tokens)


def test_a_perplexity_beyond_floats_is_infinite(tmp_path):
    report = LanguageReport.from_log_likelihood([-705.0, -715.0], [1, 1], resamples=50)
    assert (report.perplexity.value, report.perplexity.high) == (math.inf, math.inf)
    assert report.perplexity.low == pytest.approx(math.exp(report.nll_per_token.low))
    assert "Perplexity inf over 2 tokens" in str(report)
    assert report.to_dict()["perplexity"]["value"] is None
    assert LanguageReport.from_json(report.to_json()) == report
    assert "inf" in report.to_html()


def test_json_of_something_else():
    with pytest.raises(DataError, match="not a report of a language model"):
        LanguageReport.from_dict({"nll": 1})
