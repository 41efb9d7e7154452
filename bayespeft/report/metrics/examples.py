"""What each example contributes to the metrics, from log-probabilities and labels: the one place that checks them.

The **confidence** of an example is the largest of its probabilities, its **prediction** the class that has it (the
lowest class among equals), as in `argmax`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
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


@dataclass(frozen=True, slots=True)
class Scores:
    """What each example contributes to the metrics: arrays of shape (n,), but for the probabilities.

    Attributes:
        confidence: largest probability, in (0, 1].
        correct: 1.0 where the prediction is the label, else 0.0.
        nll: minus the log-probability of the label, in nats; `-LOG_ZERO` where its probability is 0.
        brier: squared distance of the probabilities from the label's one-hot vector, in [0, 2].
        entropy: entropy of the probabilities, in nats, in [0, log classes].
        probs: (n, classes), rows sum to 1.
        labels: int64, in [0, classes).
    """

    confidence: Floats
    correct: Floats
    nll: Floats
    brier: Floats
    entropy: Floats
    probs: Floats
    labels: Ints

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probs.shape[1])

    @property
    def majority(self) -> int:
        """The most frequent class, the lowest of equals."""
        return int(np.bincount(self.labels).argmax())

    def take(self, rows: npt.NDArray[np.intp]) -> Scores:
        """Return those of some rows, in their order."""
        return Scores(*(getattr(self, field.name)[rows] for field in fields(self)))


def validate(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Ints]:
    """Check the two arrays and return them as float64 (n, classes) and int64 (n,).

    Raises:
        DataError: as `validate_log_probs`, or labels that are not integers or not in [0, classes). The message names the
            first such row.
    """
    p, y = validate_log_probs(log_probs), _array(labels, "labels")
    n, classes = p.shape
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
    return p, y.astype(np.int64)


def validate_log_probs(log_probs: npt.ArrayLike) -> Floats:
    """Check natural-log probabilities and return them as float64 (n, classes); -inf is a probability of 0.

    Raises:
        DataError: a wrong shape, no example, NaN, or a row that does not sum to 1 within `SUM_TOLERANCE`. The message names
            the first such row.
    """
    p = _array(log_probs, "log_probs", np.float64)
    if p.ndim != 2 or 0 in p.shape:
        raise DataError(f"log_probs has shape {p.shape}; (examples, classes) with at least one of each is expected.")
    _fail_at(
        np.logical_or.reduce(np.isnan(p), axis=1),
        "log_probs is NaN",
        "Look for an overflow in the logits of that example.",
    )
    with np.errstate(over="ignore"):
        sums = np.exp(p).sum(axis=1)
    wrong = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
    if wrong.any():
        _fail_at(
            wrong,
            f"probabilities sum to {sums[int(np.argmax(wrong))]:.6g}, not 1,",
            "Pass natural-log probabilities, e.g. torch.log_softmax(logits.float(), -1); not logits or probabilities.",
        )
    return p


def example_scores(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> Scores:
    """Return what each example contributes to the metrics.

    Rows are first divided by their sum, which `validate` lets be off by 1e-3, so that each score is in its range.

    Args:
        log_probs: (n, classes), natural-log probabilities; -inf is a probability of 0.
        labels: (n,), integers in [0, classes).

    Raises:
        DataError: see `validate`.
    """
    log_p, y = validate(log_probs, labels)
    p = np.exp(log_p)
    sums = p.sum(axis=1, keepdims=True)
    p /= sums
    log_p = np.where(np.isneginf(log_p), LOG_ZERO, log_p - np.log(sums))
    rows = np.arange(len(y))
    nll = np.maximum(-log_p[rows, y], 0.0)
    entropy = np.maximum(-np.einsum("nk,nk->n", p, log_p), 0.0)
    top = p.argmax(axis=1)
    off = p.copy()
    off[rows, y] -= 1
    return Scores(
        confidence=p[rows, top],
        correct=(top == y).astype(np.float64),
        nll=nll,
        brier=np.einsum("nk,nk->n", off, off),
        entropy=entropy,
        probs=p,
        labels=y,
    )


def _array(values: npt.ArrayLike, name: str, dtype: type[np.float64] | None = None) -> npt.NDArray[Any]:
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
