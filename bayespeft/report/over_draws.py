"""How the figures of an averaged prediction depend on its draws: their Monte Carlo error, and figures by number of draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.bootstrap import METRICS, basic
from bayespeft.report.metrics.calibration import calibration_figures
from bayespeft.report.metrics.cells import Cells
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.selective import COVERAGES, RISKS, selective_figures
from bayespeft.report.metrics.tally import Tally
from bayespeft.report.predictions import ClassPrediction

POINTS = {"accuracy_at_coverage": COVERAGES, "coverage_at_risk": RISKS}
FIGURES = (
    *METRICS, "confidence_gap", "ece_classwise", "ece_debiased", "rms_debiased", "mce", "smooth_ece", "brier_reliability",
    "brier_resolution", "brier_within", "aurc", "excess_aurc", "augrc", "error_auroc",
    "error_average_precision", "refusal_gain", *(f"{name}.{at:g}" for name, points in POINTS.items() for at in points),
)  # fmt: skip
"""Figures of a report that draws can change; those at a coverage or a risk have it in their names: "coverage_at_risk.0.05"."""


@dataclass(frozen=True, slots=True)
class ByDraws:
    """Figures of an average over so many draws: means over all blocks of so many draws in a row that there are."""

    draws: int
    accuracy: float
    nll: float
    ece: float
    brier: float


@dataclass(frozen=True, slots=True)
class OverDraws:
    """What draws do to figures.

    Attributes:
        errors: figure, of `FIGURES` -> Monte Carlo standard error over draws, by the jackknife (Efron & Tibshirani 1993,
            eq. 11.5): the averaged prediction without each draw in turn. None where draws are not independent of each other.
            NLL and Brier score are smooth in the averaged probabilities, as the jackknife wants it; the others count examples
            that cross an edge, take a largest value or are cut off at 0, and theirs is rough where few do or where that
            happens.
        by_draws: figures at 1, 2, 5, 10, ... draws, and at all.
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

    Takes 4 (S + 15) n K bytes beyond the draws themselves, and about three evaluations of the figures for each draw.

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
    rows = []
    for draws in _numbers(size):
        averages = (probs[i : i + draws].mean(axis=0) for i in range(0, size - draws + 1, draws))
        blocks = [basic(_tally(_log(average), labels)) for average in averages]
        mean = {name: float(np.mean([block[name] for block in blocks])) for name in METRICS}
        rows.append(ByDraws(draws, mean["accuracy"], mean["nll"], mean["ece"], mean["brier"]))
    units = 0 if unit is None else size // unit
    return OverDraws(_jackknife(probs, labels, units) if units > 1 else None, tuple(rows))


def _jackknife(probs: npt.NDArray[np.float32], labels: npt.ArrayLike, units: int) -> dict[str, float]:
    width = len(probs) // units
    left_out = np.repeat(np.arange(units), width)
    used = probs[: units * width]
    found = [_figures(used[left_out != i].mean(axis=0), labels) for i in range(units)]
    values = np.array([[figures[name] for name in FIGURES] for figures in found])
    # About their first, or figures that are all the same would differ from their mean by its rounding.
    errors = np.sqrt((units - 1) * (values - values[0]).var(axis=0))
    return {name: float(error) for name, error in zip(FIGURES, errors, strict=True) if not np.isnan(error)}


def _figures(probs: npt.NDArray[np.float32], labels: npt.ArrayLike) -> dict[str, float]:
    logs = _log(probs)
    tally = _tally(logs, labels)
    cells = Cells(logs, labels, tally.ordered.order)
    found = {**basic(tally), **calibration_figures(tally), **selective_figures(tally), **cells(tally)}
    for name, points in POINTS.items():
        found |= {f"{name}.{at:g}": found[name][:, i] for i, at in enumerate(points)}
    return {name: float(found[name][0]) for name in FIGURES}


def _log(probs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.log(probs)


def _tally(logs: npt.NDArray[np.float32], labels: npt.ArrayLike) -> Tally:
    return Tally.whole(example_scores(logs, labels))


def _numbers(most: int) -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, ... below `most`, and `most`."""
    scale = 1
    while scale < most:
        yield from (scale * step for step in (1, 2, 5) if scale * step < most)
        scale *= 10
    yield most
