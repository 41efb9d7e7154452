"""The report on a regression: numbers with intervals, in words, as JSON, as a table, as a plot."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from bayespeft.errors import DataError
from bayespeft.report.metric import measured
from bayespeft.report.regression import RegressionReport
from tests.report.quantities import simulated


def test_numbers_of_a_true_model():
    report = simulated(4000)
    # 4 standard errors: the errors have variance 1.01 to within the mean's own spread.
    assert report.rmse.value == pytest.approx(1.0, abs=4 / 8000**0.5 + 0.01)
    assert report.rmse.low < report.rmse.value < report.rmse.high
    assert [c.level for c in report.coverage] == [0.5, 0.9, 0.95]
    for c in report.coverage:
        assert abs(c.observed.value - c.level) < 4 * (c.level * (1 - c.level) / 4000) ** 0.5
    assert report.coverage[1].width == pytest.approx(2 * 1.645, rel=0.02)
    assert (report.n, report.outputs, sum(report.pit)) == (4000, 1, 4000)
    assert (report.verdict.kind, str(report.verdict)) == ("calibrated", "well calibrated, as far as 4,000 rows show")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"claimed": 0.5}, "over-confident: intervals for 90 % hold"),
        ({"claimed": 2.5}, "under-confident: intervals for 90 % hold"),
        ({"shift": 0.8}, "too high:"),
        ({"shift": -0.8}, "too low:"),
    ],
)
def test_the_verdict_names_what_is_most_wrong(options, words):
    report = simulated(**options)
    assert str(report.verdict).startswith(words)
    assert report.verdict.kind == words.split(":")[0].removeprefix("too ").removesuffix("-confident")
    assert report.headline.startswith(str(report.verdict))


def test_where_the_median_is_right_the_verdict_tells_the_quantile_that_is_not():
    levels = (np.arange(2000) + 0.5) / 2000
    # Of the upper half, targets lie where the root of their place would be: between its quantiles, too far up.
    places = np.where(levels < 0.5, levels, 0.5 + 0.5 * np.sqrt(np.maximum(2 * levels - 1, 0)))
    report = RegressionReport.from_mixture(np.zeros((1, 2000, 1)), np.ones((1, 2000, 1)), ndtri(places)[:, None])
    # v - v^2 is largest at v = 1/2, a quarter up the upper half: 0.5 + 0.5 * 0.25 = 0.625 lie below the 75 % quantile.
    assert str(report.verdict) == "too low: 62 % of the targets lie below the predicted 75 % quantile"
    assert report.verdict.reason == "75 % of the targets should lie below the predicted 75 % quantile, and 62 % do."


def test_a_joint_likelihood_takes_the_place_of_independent_outputs():
    report = simulated(d=2)
    given = simulated(d=2, log_likelihood=np.full(500, -3.0))
    assert given.nll.value == pytest.approx(3.0)
    assert report.nll.value != given.nll.value
    assert report.crps == given.crps


def test_json_there_and_back(tmp_path):
    report = simulated(name="söme", method="Me-LoRA", nll_error=0.01, draws=3)
    assert RegressionReport.from_json(report.to_json(tmp_path / "r.json")) == report
    assert RegressionReport.from_json(tmp_path / "r.json") == report
    values = json.loads(report.to_json()) | {"later": 1}
    assert RegressionReport.from_dict(values) == report
    del values["crps"]
    with pytest.raises(DataError, match="not a regression report: KeyError 'crps'"):
        RegressionReport.from_dict(values)
    assert json.loads(replace(report, nll_error=float("nan")).to_json())["nll_error"] is None


def test_it_prints_as_a_table():
    text = str(simulated(d=2, name="data", method="Me-LoRA", noise=1.0, epistemic=0.1, draws=3, forward_passes=3))
    assert text.startswith("data, Me-LoRA: well calibrated")
    for words in ("RMSE", "CRPS", "Coverage at 95 %", "mean over 2 outputs", "500 with 2 outputs", "3 in 3 forward"):
        assert words in text
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.731, "0.7310"), (2.5, "2.500"), (127456.2, "127,456"), (0.00012345, "0.0001234"), (3e-7, "3e-07"), (0.0, "0"),
     (-12.3456, "-12.35"), (4.2e9, "4.2e+09"), (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_in_any_unit_have_four_digits(value, text):
    assert measured(value) == text


def test_one_example_is_enough():
    report = simulated(1)
    assert (report.rmse.low, report.rmse.high) == (0, np.inf)
    assert str(report.verdict) == "too few rows to tell: 1"
    assert report.skill is None


@pytest.mark.parametrize(
    ("log_likelihood", "message"),
    [
        ([-1.0, np.nan, -1.0], "log_likelihood of example 1 is nan"),
        ([-1.0, -1.0, -np.inf], "log_likelihood of example 2 is -inf"),
        ([[-1.0]] * 3, r"log_likelihood has shape \(3, 1\): one for each of 3 examples"),
        ([-1.0], r"log_likelihood has shape \(1,\)"),
    ],
)
def test_log_likelihoods_that_are_none_are_refused(log_likelihood, message):
    with pytest.raises(DataError, match=message):
        simulated(3, log_likelihood=log_likelihood)
