"""Tests and bold figures on made-up results whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from bayespeft.compare import Comparison
from bayespeft.compare.scores import contributions
from bayespeft.compare.significance import LEVEL, behrens_fisher_p, holm, judge, paired_p
from bayespeft.errors import DataError
from tests.compare.conftest import made_up
from tests.compare.made import log_probs, predictions


def rate(found):
    """Share of True, and its standard error."""
    share = np.mean(found)
    return share, (max(share * (1 - share), 1e-4) / len(found)) ** 0.5


def test_one_seed_is_the_paired_t_test():
    d = np.random.default_rng(0).normal(0.1, 1, (1, 200))
    assert paired_p(d) == pytest.approx(stats.ttest_1samp(d[0], 0).pvalue, rel=1e-6)


@pytest.mark.parametrize(("better", "worse"), [(6, 0), (5, 1), (10, 2), (100, 70), (1, 1), (0, 0)])
def test_one_seed_of_right_and_wrong_is_the_exact_mcnemar_test(better, worse):
    d = np.zeros((1, 500))
    d[0, :better], d[0, better : better + worse] = 1, -1
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1
    assert paired_p(d) == paired_p(-d) == pytest.approx(expected)


def test_where_examples_agree_it_is_the_paired_t_test_over_seeds():
    by_seed = np.array([0.3, 0.1, 0.25, 0.2])
    d = np.repeat(by_seed[:, None], 50, axis=1)
    assert paired_p(d) == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue, rel=1e-6)


@pytest.mark.parametrize(
    ("t", "share", "first", "second"),
    [(3, 1e-8, 1, 99), (3, 0.1, 1, 99), (6, 0.5, 2, 99), (8, 0.01, 4, 3000), (0, 0.3, 1, 5), (3, 0.999, 1, 2), (40, 0.3, 4, 9)],
)  # fmt: skip
def test_behrens_and_fisher_against_quadrature(t, share, first, second):
    """One law's tail averaged over the other, adaptively and split where the tail begins."""
    one, two = share**0.5, (1 - share) ** 0.5

    def tail(y):
        return stats.t.sf((t - two * y) / one, first) * stats.t.pdf(y, second)

    pieces = [(-np.inf, 0), (0, t / two), (t / two, np.inf)]
    expected = 2 * sum(quad(tail, *ends, limit=200, epsabs=0, epsrel=1e-9)[0] for ends in pieces)
    assert behrens_fisher_p(t, share, first, second) == pytest.approx(expected, rel=1e-7)
    assert behrens_fisher_p(t, 1 - share, second, first) == pytest.approx(expected, rel=1e-7)


def test_behrens_and_fisher_have_known_ends():
    assert behrens_fisher_p(2.5, 0.0, 1, 30) == pytest.approx(2 * stats.t.sf(2.5, 30))
    assert behrens_fisher_p(2.5, 1.0, 1, 30) == pytest.approx(2 * stats.t.sf(2.5, 1))
    # A sum of two Cauchy variables is one.
    assert behrens_fisher_p(2.5, 0.2, 1, 1) == pytest.approx(2 * stats.cauchy.sf(2.5 / (0.2**0.5 + 0.8**0.5)), rel=1e-9)


def test_small_levels_hold_with_two_seeds():
    """Where effects of seeds are some times those of examples, weighted quantiles would reject 1.4 % at a level of 0.5 %."""
    g = np.random.default_rng(0)
    found = [paired_p(0.7 * g.normal(size=(2, 1)) + g.normal(size=(1, 100))) < 0.005 for _ in range(3000)]
    share, _ = rate(found)
    assert share < 0.005 + 3 * (0.005 / 3000) ** 0.5


def test_few_examples_that_differ_say_no_more_than_a_sign_flip_test():
    d = np.zeros((1, 1000))
    d[0, :4] = 1
    assert stats.ttest_1samp(d[0], 0).pvalue < LEVEL
    assert paired_p(d) == stats.binomtest(4, 4).pvalue == 0.125
    assert paired_p(np.ones((1, 2))) == 0.5
    assert paired_p(np.ones((3, 10))) == 2**-9


def test_where_nothing_can_be_said_p_is_one():
    assert paired_p(np.ones((3, 1))) == 1
    assert paired_p(np.zeros((3, 50))) == 1
    assert paired_p([[0.1, np.inf, 0.2]]) == 1
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        paired_p([1.0, 2.0, 3.0])


@given(st.integers(0, 2**20), st.integers(1, 4), st.integers(2, 30), st.floats(0.01, 1e6))
def test_order_sign_and_unit_do_not_matter(seed, seeds, n, scale):
    generator = np.random.default_rng(seed)
    d = generator.normal(0.3, 1, (seeds, n))
    p = paired_p(d)
    assert 0 < p <= 1
    for other in (-d, d[::-1], generator.permuted(d, axis=1) if seeds == 1 else d[:, ::-1], scale * d):
        assert paired_p(other) == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize(("seeds", "n", "between"), [(1, 60, 0.0), (2, 300, 0.1), (3, 300, 0.05), (5, 100, 0.0)])
def test_equal_methods_rarely_differ(seeds, n, between):
    """Differences with parts of the seed, of the example, and of both: at most 5 % are significant, within 4 s.e."""
    g = np.random.default_rng(seeds)
    found = [
        paired_p(g.normal(0, between, (seeds, 1)) + g.normal(0, 0.5, n) + g.normal(0, 0.5, (seeds, n))) < LEVEL
        for _ in range(400)
    ]
    share, error = rate(found)
    assert share < LEVEL + 4 * error


def test_another_seed_counts_too():
    """Examples alone would call equal methods different nearly always, where seeds differ more than examples."""
    g = np.random.default_rng(0)
    draws = [g.normal(0, 0.3, (3, 1)) + g.normal(0, 0.1, (3, 500)) for _ in range(300)]
    share, error = rate([paired_p(d) < LEVEL for d in draws])
    assert share < LEVEL + 4 * error
    assert rate([stats.ttest_1samp(d.mean(0), 0).pvalue < LEVEL for d in draws])[0] > 0.8


def test_adjusted_p_values_are_holms():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("seeds", "sharpness"), [(1, 1.0), (1, 3.0), (3, 1.0)])
def test_none_of_three_equal_methods_is_bold(seeds, sharpness):
    """Of real predictions, calibrated or over-confident: at most 5 % false claims a metric, within 4 s.e."""
    g, names = np.random.default_rng(seeds), ("accuracy", "nll", "brier")
    claims = {name: [] for name in names}
    for _ in range(150):
        labels, method = predictions(g, 200, sharpness)
        scores = [
            {seed: contributions(log_probs(method()), labels) for seed in range(seeds)} for _ in range(3)
        ]  # fmt: skip
        for name in names:
            own = {str(i): {seed: s[name] for seed, s in by_seed.items()} for i, by_seed in enumerate(scores)}
            claims[name].append(judge(own, name == "accuracy").significant)
    for found in claims.values():
        share, error = rate(found)
        assert share < LEVEL + 4 * error


@pytest.fixture
def clear():
    """Three seeds of a calibrated method, and of two that are over-confident and alike."""
    g = np.random.default_rng(0)
    labels, method = predictions(g, 2000, spread=0.3)
    sharp = {"good": 1.0, "loud": 4.0, "louder": 4.05}
    return tuple(
        made_up(name, seed, logits=factor * method(), labels=labels)
        for name, factor in sharp.items()
        for seed in range(3)
    )


def test_a_clearly_better_method_is_bold(clear):
    comparison = Comparison(clear)
    found = {row["metric"]: row for row in comparison.tests if row["method"] == "loud"}
    assert found.keys() == {"accuracy", "nll", "brier"}
    assert (found["brier"]["best"], found["brier"]["p"] < LEVEL) == ("good", True)
    assert found["nll"]["best"] == "good"
    assert found["nll"]["p"] < 0.001
    good, loud, _ = [line for line in comparison.to_markdown().splitlines() if line.startswith("| ") and "±" in line]
    assert [cell.startswith("**") for cell in good.split(" | ")] == [
        False,
        False,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert "**" not in loud
    # Where the best one has an equal, none is bold.
    tied = Comparison(tuple(run for run in clear if run["method"] != "good"))
    assert "| **" not in tied.to_markdown()
    assert "Bold: the best, where it differs from every other method" in tied.to_markdown()


def test_ece_is_never_bold_though_a_method_without_spread_looks_better():
    """Both are calibrated: one with confidences of 0.97, the other's from 0.5 to 1. The noise in their bins differs."""
    g, n = np.random.default_rng(0), 2000
    labels = np.arange(n) % 2

    def run(name, seed, confidence):
        right = np.where(g.random(n) < confidence, 1, -1) * (2 * labels - 1)
        return made_up(name, seed, logits=right * np.log(confidence / (1 - confidence)), labels=labels)

    even = [run("even", seed, np.full(n, 0.97)) for seed in range(3)]
    comparison = Comparison((*even, *(run("spread", seed, g.uniform(0.5, 0.999, n)) for seed in range(3))))
    text = comparison.to_markdown()
    first = next(line for line in text.splitlines() if line.startswith("| ") and "EVEN" in line).split(" | ")
    assert [cell.startswith("**") for cell in first] == [False, True, True, True, False, False, False, False]
    assert "ECE is not tested" in text


def test_the_best_of_many_equal_methods_rarely_differs_from_any():
    """Which is best was seen in the same data: p-values count all pairs, or 30 % of these would be claims."""
    g = np.random.default_rng(0)
    claims = []
    for _ in range(300):
        verdict = judge({str(i): {0: g.normal(0, 1, 100)} for i in range(8)}, True)
        claims.append(min(verdict.p.values()) < LEVEL)
    share, error = rate(claims)
    assert share < LEVEL + 3 * error


def test_pairs_need_common_seeds_and_examples(clear):
    scores = {name: {0: np.full(9, i)} for i, name in enumerate("ab")}
    assert judge(scores, True).significant
    assert judge({"a": scores["a"], "b": {1: scores["b"][0]}}, True).p == {"a": 1.0}
    assert judge({"a": scores["a"], "b": {0: np.ones(8)}}, True).p == {"a": 1.0}
    assert judge({"a": scores["a"]}, True).best is None
    assert judge({"a": scores["a"], "b": {}}, True).best is None
