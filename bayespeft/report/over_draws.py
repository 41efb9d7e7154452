"""How the figures of an averaged prediction depend on its draws: their Monte Carlo error, and figures by number of draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.binning import Floats
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.spec import MetricSpec, table
from bayespeft.report.metrics.tally import Tally
from bayespeft.report.predictions import ClassPrediction


@dataclass(frozen=True, slots=True)
class ByDraws:
    """Metrics of an average over so many draws, by name: means over all blocks of so many draws in a row that there are."""

    draws: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class OverDraws:
    """What draws do to figures.

    Attributes:
        errors: metric that draws can change -> Monte Carlo standard error over draws, by the jackknife (Efron & Tibshirani
            1993, eq. 11.5): the averaged prediction without each draw in turn. None where draws are not independent of each
            other. NLL and Brier score are smooth in the averaged probabilities, as the jackknife wants it; the others count
            examples that cross an edge, take a largest value or are cut off at 0, and theirs is rough where few do or where
            that happens.
        by_draws: metrics at 1, 2, 5, 10, ... draws, and at all.
    """

    errors: dict[str, float] | None
    by_draws: tuple[ByDraws, ...]


def of_prediction(prediction: ClassPrediction, unit: int) -> OverDraws:
    """Measure a labelled prediction that kept its draws.

    Args:
        prediction: with labels and draws; no error is given where it has none of its NLL: draws are then not independent.
        unit: as for `over_draws`.
    """
    assert prediction.draw_log_probs is not None
    assert prediction.labels is not None
    independent = prediction.nll_error is not None
    return over_draws(prediction.draw_log_probs.numpy(), prediction.labels.numpy(), unit if independent else None)


def over_draws(draw_log_probs: npt.ArrayLike, labels: npt.ArrayLike, unit: int | None = 1) -> OverDraws:
    """Measure averages over subsets of draws.

    Takes about 8 S n K bytes beyond the draws themselves, and about three evaluations of the figures for each draw.

    Args:
        draw_log_probs: (S, n, K), log-probabilities under each draw.
        labels: (n,).
        unit: draws in a row that belong together, such as 2 for antithetic pairs; units are independent. None: no two are,
            and no error is known.

    Raises:
        DataError: no three dimensions, no draw, or see `metrics.validate`.
    """
    logs = np.asarray(draw_log_probs, dtype=np.float32)
    if logs.ndim != 3 or not len(logs):
        raise DataError(f"draw_log_probs has shape {logs.shape}; (draws, examples, classes) is expected.")
    probs = np.exp(logs)
    size = len(probs)
    shown = [spec for spec in table() if spec.by_draws]
    rows = []
    for draws in _numbers(size):
        starts = range(0, size - draws + 1, draws)
        values = np.mean([_values(probs[i : i + draws].mean(axis=0), labels, shown) for i in starts], axis=0)
        rows.append(ByDraws(draws, {spec.name: float(value) for spec, value in zip(shown, values, strict=True)}))
    units = 0 if unit is None else size // unit
    return OverDraws(_jackknife(probs, labels, units) if units > 1 else None, tuple(rows))


def _jackknife(probs: npt.NDArray[np.float32], labels: npt.ArrayLike, units: int) -> dict[str, float]:
    width = len(probs) // units
    left_out = np.repeat(np.arange(units), width)
    used = probs[: units * width]
    specs = [spec for spec in table() if not spec.of_labels]
    values = np.stack([_values(used[left_out != i].mean(axis=0), labels, specs) for i in range(units)])
    # About their first, or figures that are all the same would differ from their mean by its rounding.
    errors = np.sqrt((units - 1) * (values - values[0]).var(axis=0))
    return {spec.name: float(error) for spec, error in zip(specs, errors, strict=True) if not np.isnan(error)}


def _values(probs: npt.NDArray[np.float32], labels: npt.ArrayLike, specs: Sequence[MetricSpec]) -> Floats:
    """Return the metrics of averaged probabilities, (metrics,)."""
    with np.errstate(divide="ignore"):
        tally = Tally.whole(example_scores(np.log(probs), labels))
    return np.array([spec(tally)[0] for spec in specs])


def _numbers(most: int) -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, ... below `most`, and `most`."""
    scale = 1
    while scale < most:
        yield from (scale * step for step in (1, 2, 5) if scale * step < most)
        scale *= 10
    yield most
