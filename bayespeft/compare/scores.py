"""What each test example contributes to a metric, kept with a run: paired tests need it, as averages are not enough.

A metric is the mean of its contributions. A number an example for each is kept as float32, compressed, in base64: for three
metrics some 15 bytes an example, or 150 kB in a run's line of the results file for 10,000 test examples.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.spec import MetricSpec, table

Floats = npt.NDArray[np.float64]
_LARGEST = float(np.finfo("<f4").max)


def tested() -> list[MetricSpec]:
    """Return the metrics that methods are tested by: those columns that are means over examples, and have a better end.

    Not the ECE: it is no such mean, and noise in its bins biases it by an amount that goes by how a method's confidences are
    spread. Of two calibrated methods one would often look better.
    """
    return [spec for spec in columns() if spec.contribution is not None and spec.higher_is_better is not None]


def columns() -> list[MetricSpec]:
    """Return the metrics that tables of methods show."""
    return [spec for spec in table() if spec.compared]


def contributions(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, Floats]:
    """Return metric -> (n,), whose mean is the metric.

    Args:
        log_probs: (n, classes), natural-log probabilities.
        labels: (n,), integers in [0, classes).

    Raises:
        DataError: see `bayespeft.report.metrics.examples.validate`.
    """
    scores = example_scores(log_probs, labels)
    return {spec.name: spec.contribution(scores) for spec in tested() if spec.contribution is not None}


def encode(scores: Mapping[str, npt.ArrayLike]) -> dict[str, str]:
    """Return metric -> text, of arrays (n,)."""
    return {
        name: base64.b64encode(zlib.compress(np.clip(values, -_LARGEST, _LARGEST).astype("<f4").tobytes())).decode()
        for name, values in scores.items()
    }


def decode(texts: Mapping[str, str]) -> dict[str, Floats]:
    """Return what `encode` was given, rounded to float32.

    Raises:
        DataError: a text is not what `encode` wrote.
    """
    try:
        return {
            name: np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype="<f4").astype(np.float64)
            for name, text in texts.items()
        }
    except (binascii.Error, zlib.error, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"scores of single examples can't be read ({error}): do that run again.") from error
