"""Accuracy and the proper scores: each is an average over examples, never an average over batches."""

from __future__ import annotations

import numpy.typing as npt

from bayespeft.report.metrics.examples import example_scores


def accuracy(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the fraction of examples whose most probable class is the label; in [0, 1].

    Raises:
        DataError: see `validate`.
    """
    return float(example_scores(log_probs, labels).correct.mean())


def nll(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean negative log-likelihood of the labels, in nats per example.

    Log-probabilities below `LOG_FLOOR` count as `LOG_FLOOR`, so that one label with probability 0 costs 103.28 nats
    rather than infinity. The floor acts on all of them, or else log p = -200 would score worse than p = 0.

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
