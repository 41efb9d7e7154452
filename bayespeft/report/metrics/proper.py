"""Accuracy and the proper scores: each is an average over examples, never an average over batches.

The trivial answer gives every row the base rates, the frequencies of the classes among these rows: the best that knows nothing
of them. Its NLL is the entropy of the frequencies. Skill is 1 - NLL / NLL of the base rates.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bayespeft.report.binning import Floats
from bayespeft.report.metrics.examples import LOG_ZERO, Scores, example_scores
from bayespeft.report.metrics.intervals import Exact, Studentised, error_of_mean
from bayespeft.report.metrics.spec import MetricSpec
from bayespeft.report.metrics.tally import Ordered, Tally


def accuracy(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the fraction of examples whose most probable class is the label; in [0, 1].

    Raises:
        DataError: see `validate`.
    """
    return float(example_scores(log_probs, labels).correct.mean())


def nll(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean negative log-likelihood of the labels, in nats per example.

    Log-probabilities count as they are, however low. A label with probability 0 costs `-LOG_ZERO`, 744.44 nats, rather than
    infinity.

    Raises:
        DataError: see `validate`.
    """
    return float(example_scores(log_probs, labels).nll.mean())


def brier(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the Brier score: mean over examples of the squared error summed over classes; in [0, 2].

    This is the definition of Brier 1950 (Monthly Weather Review 78(1), eq. 2). For two classes it is twice the
    one-column score that some libraries call by the same name.

    Raises:
        DataError: see `validate`.
    """
    return float(example_scores(log_probs, labels).brier.mean())


def skill(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return 1 - NLL / NLL of the base rates: 1 is perfect, 0 no better than these, below 0 worse.

    NaN where all rows are of one class.

    Raises:
        DataError: see `validate`.
    """
    return float(_skill(Tally.whole(example_scores(log_probs, labels)))[0])


def _frequencies(scores: Scores) -> Floats:
    """The frequency of each row's class, (n,)."""
    shares: Floats = np.bincount(scores.labels) / len(scores)
    found: Floats = shares[scores.labels]
    return found


def _base_nll(scores: Scores) -> Floats:
    found: Floats = np.abs(np.log(_frequencies(scores)))
    return found


def _base_accuracy(scores: Scores) -> Floats:
    found: Floats = (scores.labels == scores.majority).astype(np.float64)
    return found


def _moments(ordered: Ordered) -> tuple[Floats, ...]:
    """The NLL of each row, that of its base rate, and their squares and product, (n,) each."""
    own, base = ordered.scores.nll, _base_nll(ordered.scores)
    return own, base, own**2, own * base, base**2


def _skill(tally: Tally) -> Floats:
    own, base = (tally.mean(values) for values in tally.ordered.once(_moments)[:2])
    return 1 - np.divide(own, base, out=np.full_like(own, np.nan), where=base > 0)


def _skill_error(tally: Tally) -> Floats:
    """By the ratio's influence, (nll - ratio base) / mean base."""
    own, mean, squares, products, base_squares = (tally.mean(values) for values in tally.ordered.once(_moments))
    ratio = np.divide(own, mean, out=np.zeros_like(mean), where=mean > 0)
    variance = squares - 2 * ratio * products + ratio**2 * base_squares
    return np.divide(np.sqrt(np.maximum(variance, 0) / tally.n), mean, out=np.zeros_like(mean), where=mean > 0)


def _surprise(ordered: Ordered) -> float:
    """The largest NLL that any label would have had: that of the least probable class of all rows."""
    law = ordered.scores.law
    least = min(float(law.columns(k, k + 1).min()) for k in range(law.classes))
    return -math.log(least) if least > 0 else -LOG_ZERO


def _least_skill(ordered: Ordered) -> float:
    return 1 - _surprise(ordered) / float(_base_nll(ordered.scores).mean())


def _nll(scores: Scores) -> Floats:
    return scores.nll


def _brier(scores: Scores) -> Floats:
    return scores.brier


METRICS = (
    MetricSpec(
        name="accuracy", title="accuracy", contribution=lambda scores: scores.correct, interval=Exact(), unit="%",
        higher_is_better=True, printed="", compared=True, by_draws=True,
        tile=lambda report: f"right answers; the trivial answer: {100 * report.metrics['base_accuracy']:.1f} %",
    ),
    MetricSpec(
        name="nll", title="NLL", contribution=_nll, unit="nats",
        interval=Studentised(error_of_mean(_nll), most=np.inf, worst=_surprise), higher_is_better=False,
        remark="nats per example", printed="nats", tile="nats; surprise at the right answers", compared=True, by_draws=True,
    ),
    MetricSpec(
        name="skill", title="skill", function=_skill, unit="%",
        interval=Studentised(_skill_error, least=-math.inf, worst=_least_skill), higher_is_better=True,
        remark="1 - NLL / NLL of the base rates: 0 is no better than these, 100 % perfect",
        printed=lambda report: f"1 - NLL / NLL of the base rates ({report.metrics['base_nll']:.3f} nats)",
        tile="of its probabilities, over base rates",
    ),
    MetricSpec(
        name="base_accuracy", title="accuracy of the trivial answer", contribution=_base_accuracy, unit="%",
        remark="always the most frequent class", of_labels=True,
    ),
    MetricSpec(
        name="base_nll", title="NLL of the base rates", contribution=_base_nll, unit="nats", remark="nats per example",
        of_labels=True,
    ),
    MetricSpec(
        name="brier", title="Brier score", contribution=_brier, interval=Studentised(error_of_mean(_brier), most=2.0),
        higher_is_better=False, remark="squared error of probabilities, summed over classes", short="Brier",
        printed="from 0 to 2", tile="from 0 to 2; error of its probabilities", compared=True, by_draws=True,
    ),
)  # fmt: skip
