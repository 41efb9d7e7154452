"""What each example contributes to the metrics, from log-probabilities and labels: the one place that checks them.

The **confidence** of an example is the largest of its probabilities, its **prediction** the class that has it (the
lowest class among equals), as in `argmax`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.binning import Floats, Ints

LOG_ZERO = -1074 * math.log(2)
"""What the log of a probability of 0 counts as: log(2^-1074) = -744.44 nats, 2^-1074 being the smallest positive float64.

Log-probabilities that are finite count as they are, however low: a network that is sure and wrong pays what it says. Only what
is 0, of which no more is known than that a float64 could not hold it, counts as the most that it can have been.
"""

SUM_TOLERANCE = 1e-3
"""How far from 1 the probabilities of one example may sum."""

BLOCK = 1 << 21
"""Probabilities that are computed at a time, in float64: 16 MiB of each array that is made of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Probabilities:
    """Probabilities of n examples, computed from their logs where they are asked for, as there may be very many classes.

    Attributes:
        logs: (m, classes) natural logs in the precision in which they were given, of examples in any order.
        sums: (m,) what the probabilities of each sum to, which they are divided by.
        rows: (n,) which of the m these are, in their order.
    """

    logs: npt.NDArray[Any]
    sums: Floats
    rows: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.logs.shape[1])

    def take(self, rows: npt.NDArray[np.intp]) -> Probabilities:
        """Return those of some examples, in their order."""
        return Probabilities(self.logs, self.sums, self.rows[rows])

    def columns(self, start: int, stop: int) -> Floats:
        """Return the probabilities of classes start..stop - 1, (n, stop - start) float64."""
        found = self.logs[self.rows, start:stop].astype(np.float64)
        np.exp(found, out=found)
        found /= self.sums[self.rows, None]
        return found

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """Yield the first class, and the probabilities, of some classes at a time."""
        step = max(BLOCK // max(len(self), 1), 1)
        for start in range(0, self.classes, step):
            yield start, self.columns(start, min(start + step, self.classes))


@dataclass(frozen=True, slots=True)
class Scores:
    """What each example contributes to the metrics: arrays of shape (n,), but for the probabilities.

    Attributes:
        predicted: int64, the prediction.
        confidence: its probability, in (0, 1].
        correct: 1.0 where the prediction is the label, else 0.0.
        nll: minus the log-probability of the label, in nats; `-LOG_ZERO` where its probability is 0.
        brier: squared distance of the probabilities from the label's one-hot vector, in [0, 2].
        entropy: entropy of the probabilities, in nats, in [0, log classes].
        law: the probabilities of all classes.
        labels: int64, in [0, classes).
    """

    predicted: Ints
    confidence: Floats
    correct: Floats
    nll: Floats
    brier: Floats
    entropy: Floats
    law: Probabilities
    labels: Ints

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.law.classes

    @property
    def probs(self) -> Floats:
        """(n, classes) float64, computed anew each time; rows sum to 1."""
        return self.law.columns(0, self.classes)

    @property
    def majority(self) -> int:
        """The most frequent class, the lowest of equals."""
        return int(np.bincount(self.labels).argmax())

    def take(self, rows: npt.NDArray[np.intp]) -> Scores:
        """Return those of some rows, in their order."""
        return Scores(
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            correct=self.correct[rows],
            nll=self.nll[rows],
            brier=self.brier[rows],
            entropy=self.entropy[rows],
            law=self.law.take(rows),
            labels=self.labels[rows],
        )


def validate(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Ints]:
    """Check the two arrays and return them as float64 (n, classes) and int64 (n,).

    Raises:
        DataError: as `validate_log_probs`, or labels that are not integers or not in [0, classes). The message names the
            first such row.
    """
    p = validate_log_probs(log_probs)
    return p, _labels(labels, *p.shape)


def _labels(labels: npt.ArrayLike, n: int, classes: int) -> Ints:
    y = as_array(labels, "labels")
    if y.shape != (n,):
        raise DataError(f"labels has shape {y.shape}, but log_probs has {n} rows: pass one label for each row.")
    if y.dtype.kind not in "iu":
        raise DataError(f"labels are {y.dtype}, integers are expected: pass class indices, e.g. labels.astype(int).")
    outside = (y < 0) | (y >= classes)
    if outside.any():
        _fail_at(
            outside,
            f"label {y[int(np.argmax(outside))]} is not in 0..{classes - 1}",
            "Drop ignored examples (such as -100), or pass log_probs with one column for each class.",
        )
    return y.astype(np.int64)


def validate_log_probs(log_probs: npt.ArrayLike) -> Floats:
    """Check natural-log probabilities and return them as float64 (n, classes); -inf is a probability of 0.

    Raises:
        DataError: a wrong shape, no example, NaN, or a row that does not sum to 1 within `SUM_TOLERANCE`. The message names
            the first such row.
    """
    p, _ = _checked(log_probs)
    return p.astype(np.float64, copy=False)


def _checked(log_probs: npt.ArrayLike) -> tuple[npt.NDArray[Any], Floats]:
    """Check natural-log probabilities and return them in the precision of their floats, and the sums of rows; see above."""
    p = as_array(log_probs, "log_probs")
    if p.dtype.kind != "f" or p.dtype.itemsize > 8:
        p = as_array(p, "log_probs", np.float64)
    if p.ndim != 2 or 0 in p.shape:
        raise DataError(f"log_probs has shape {p.shape}; (examples, classes) with at least one of each is expected.")
    sums = np.empty(len(p))
    with np.errstate(over="ignore"):
        for rows in _row_blocks(p):
            sums[rows] = np.exp(p[rows].astype(np.float64)).sum(axis=1)
    # Only NaN makes a sum NaN: probabilities are not negative.
    _fail_at(np.isnan(sums), "log_probs is NaN", "Look for an overflow in the logits of that example.")
    wrong = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
    if wrong.any():
        _fail_at(
            wrong,
            f"probabilities sum to {sums[int(np.argmax(wrong))]:.6g}, not 1,",
            "Pass natural-log probabilities, e.g. torch.log_softmax(logits.float(), -1); not logits or probabilities.",
        )
    return p, sums


def example_scores(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> Scores:
    """Return what each example contributes to the metrics.

    Rows are first divided by their sum, which `validate` lets be off by 1e-3, so that each score is in its range.

    Args:
        log_probs: (n, classes), natural-log probabilities; -inf is a probability of 0.
        labels: (n,), integers in [0, classes).

    Raises:
        DataError: see `validate`.
    """
    logs, sums = _checked(log_probs)
    y = _labels(labels, *logs.shape)
    n = len(y)
    predicted = np.empty(n, dtype=np.int64)
    confidence, correct, nll, brier, entropy = (np.empty(n) for _ in range(5))
    for rows in _row_blocks(logs):
        log_p, own = logs[rows].astype(np.float64), y[rows]
        each = np.arange(len(own))
        p = np.exp(log_p)
        p /= sums[rows, None]
        zero = np.isneginf(log_p)
        log_p -= np.log(sums[rows, None])
        log_p[zero] = LOG_ZERO
        nll[rows] = np.maximum(-log_p[each, own], 0.0)
        entropy[rows] = np.maximum(-np.einsum("nk,nk->n", p, log_p), 0.0)
        predicted[rows] = top = p.argmax(axis=1)
        confidence[rows], correct[rows] = p[each, top], top == own
        p[each, own] -= 1
        brier[rows] = np.einsum("nk,nk->n", p, p)
    law = Probabilities(logs, sums, np.arange(n))
    return Scores(
        predicted=predicted,
        confidence=confidence,
        correct=correct,
        nll=nll,
        brier=brier,
        entropy=entropy,
        law=law,
        labels=y,
    )


def _row_blocks(logs: npt.NDArray[Any]) -> Iterator[slice]:
    step = max(BLOCK // logs.shape[1], 1)
    for start in range(0, len(logs), step):
        yield slice(start, min(start + step, len(logs)))


def as_array(values: npt.ArrayLike, name: str, dtype: type[np.float64] | None = None) -> npt.NDArray[Any]:
    """Return values as an array, of a type or their own.

    Raises:
        DataError: they are no array; the message names them by `name`.
    """
    try:
        return np.asarray(values, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name} can't be read as an array ({error}). Pass numpy arrays, nested lists of numbers, or CPU tensors: "
            "tensor.detach().float().cpu()."
        ) from error


def _fail_at(wrong: npt.NDArray[np.bool_], what: str, advice: str) -> None:
    if wrong.any():
        others = int(wrong.sum()) - 1
        more = f" (and {others} more)" if others else ""
        raise DataError(f"{what} at row {int(np.argmax(wrong))}{more} of {len(wrong)}. {advice}")
