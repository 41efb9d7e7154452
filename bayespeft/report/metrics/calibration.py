"""Calibration errors of the top label: how far confidence and accuracy are apart.

ECE = sum_b |B_b| / n * | accuracy(B_b) - confidence(B_b) |           Guo et al. 2017 (arXiv 1706.04599), eq. 3
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from bayespeft.report.binning import (
    N_BINS,
    Bin,
    Floats,
    equal_mass_error,
    equal_width_error,
    score_bins,
)
from bayespeft.report.metrics.examples import Scores, example_scores
from bayespeft.report.metrics.intervals import Deviation, Studentised, error_of_mean
from bayespeft.report.metrics.smooth import smooth_error
from bayespeft.report.metrics.spec import MetricSpec
from bayespeft.report.metrics.tally import Ordered, Tally, part


def ece(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error over bins of equal width; in [0, 1].

    Guo et al. 2017 (arXiv 1706.04599), eq. 3, for the top label, with the bins of `bin_index`. (The paper closes its
    bins on the right; that matters only for a confidence that is exactly at an edge.) A finite sample makes the ECE
    of even a perfect model positive (Kumar et al. 2019, arXiv 1909.10155): compare with `bootstrap.ece_noise`.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    scores = example_scores(log_probs, labels)
    return equal_width_error(scores.confidence, scores.correct, n_bins)


def ece_equal_mass(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error over bins of equal mass; in [0, 1].

    The adaptive ranges of Nixon et al. 2019 (arXiv 1904.01685), for the top label only: examples are
    sorted by confidence and bin b holds those from floor(b n / n_bins) up to floor((b + 1) n / n_bins), so sizes
    differ by at most one. Examples of equal confidence are interchangeable: each counts with the mean outcome of
    them all, so the order of the examples is irrelevant even where an edge falls among equals.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    scores = example_scores(log_probs, labels)
    return equal_mass_error(scores.confidence, scores.correct, n_bins)


def bins(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Return the bins of the reliability diagram: the equal-width bins of `ece`, from confidence 0 to 1.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    scores = example_scores(log_probs, labels)
    return score_bins(scores.confidence, scores.correct, n_bins)


def mce(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the maximum calibration error: the largest |accuracy - confidence| of a bin of equal width; in [0, 1].

    Guo et al. 2017, eq. 5, over bins that hold an example. A bin of one example has as much say as one of thousands, so
    this is mostly noise unless all bins are full.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    return _one("mce", log_probs, labels, n_bins)


def ece_debiased(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the ECE over bins of equal width less an estimate of what noise adds to it; in [0, 1].

        sum_b |B_b| / n * (2 |g_b| - E|N(g_b, v_b)|),     v_b = accuracy_b (1 - accuracy_b) / |B_b|

    with a bin's gap g_b = accuracy_b - confidence_b: the correction of Kumar et al. 2019 (arXiv 1909.10155), section 5, as
    their package `uncertainty-calibration` makes it for the ECE, with the mean of the folded normal law in place of draws.
    It removes most of the bias, not all; a negative estimate counts as 0.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    return _one("ece_debiased", log_probs, labels, n_bins)


def rms_debiased(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the debiased root mean squared calibration error over bins of equal width; in [0, 1].

        square root of sum_b |B_b| / n * (g_b^2 - accuracy_b (1 - accuracy_b) / (|B_b| - 1))

    Kumar et al. 2019, section 5 (and Bröcker 2012, Climate Dynamics 39, for the Brier score's reliability). The sum
    is unbiased for the squared error if each bin's confidences are equal; a negative one counts as 0. A bin of one example
    tells error from noise in no way and counts as 0.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    return _one("rms_debiased", log_probs, labels, n_bins)


def smooth_ece(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the smooth calibration error of Blasiok & Nakkiran 2023; in [0, 1]. See `smooth` for its definition.

    Raises:
        DataError: see `validate`.
    """
    return _one("smooth_ece", log_probs, labels, N_BINS)


def confidence_gap(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return mean confidence less accuracy; in [-1, 1]. Positive: over-confident; negative: under-confident.

    Raises:
        DataError: see `validate`.
    """
    scores = example_scores(log_probs, labels)
    return float((scores.confidence - scores.correct).mean())


def calibration_figures(tally: Tally) -> dict[str, Floats]:
    """Return these errors, but for the two of `ece_figures`, in each resample: (R,) each."""
    counts = np.diff(tally.at(tally.passed, tally.ordered.width_edges), axis=1)
    gaps = np.diff(tally.at(tally.gaps, tally.ordered.width_edges), axis=1)
    right = np.diff(tally.at(tally.hits, tally.ordered.width_edges), axis=1)
    size = np.maximum(counts, 1)
    gap, accuracy, share = gaps / size, right / size, counts / tally.n
    variance = np.maximum(accuracy * (1 - accuracy), 0)
    squared = np.where(counts > 1, gap**2 - variance / np.maximum(counts - 1, 1), 0)
    debiased = (share * (2 * np.abs(gap) - folded_mean(gap, np.sqrt(variance / size)))).sum(axis=1)
    residuals = np.diff(tally.at(tally.gaps, tally.ordered.cell_edges), axis=1) / tally.n
    # Differences of running sums are 0 up to rounding only.
    residuals[np.abs(residuals) < 1e-12] = 0
    return {
        "ece_debiased": np.maximum(debiased, 0),
        "rms_debiased": np.sqrt(np.maximum((share * squared).sum(axis=1), 0)),
        "mce": np.abs(gap).max(axis=1),
        "smooth_ece": smooth_error(residuals),
    }


def ece_figures(tally: Tally) -> dict[str, Floats]:
    """Return both expected calibration errors in each resample, and `..._distance` from the sample's gaps: (R,) each."""
    found: dict[str, Floats] = {}
    whole = tally.ordered.whole.once(_gaps)
    for name, gaps in tally.once(_gaps).items():
        found[name] = np.abs(gaps).sum(axis=1)
        found[f"{name}_distance"] = np.abs(gaps - whole[name]).sum(axis=1)
    return found


def _gaps(tally: Tally) -> dict[str, Floats]:
    """Sums of (correct - confidence) in each bin over n, (R, bins)."""
    return {
        "ece": np.diff(tally.at(tally.gaps, tally.ordered.width_edges)) / tally.n,
        "ece_equal_mass": np.diff(tally.shared(tally.gaps, tally.ordered.mass_edges)) / tally.n,
    }


def folded_mean(mean: Floats, std: Floats) -> Floats:
    """Return E|N(mean, std^2)| = 2 std phi(z) + mean (2 Phi(z) - 1), z = mean / std; |mean| where std is 0.

    Both are of one shape.
    """
    z = np.divide(mean, std, out=np.zeros_like(mean), where=std > 0)
    spread = std * np.sqrt(2 / np.pi) * np.exp(-0.5 * z**2) + mean * (2 * ndtr(z) - 1)
    result: Floats = np.where(std > 0, spread, np.abs(mean))
    return result


def _one(name: str, log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int) -> float:
    return float(calibration_figures(Tally.whole(example_scores(log_probs, labels), n_bins))[name][0])


def _square(ordered: Ordered) -> float:
    """What `deviation` wants of an error that compares each outcome with its confidence."""
    return float(((ordered.correct - ordered.confidence) ** 2).mean())


def _gap(scores: Scores) -> Floats:
    return scores.confidence - scores.correct


METRICS = (
    MetricSpec(
        name="ece", title="ECE", function=part(ece_figures, "ece"), unit="%", higher_is_better=False,
        interval=Deviation(part(ece_figures, "ece_distance"), _square), remark="15 bins of equal width",
        printed=lambda report: f"sampling noise alone reaches {100 * report.ece_noise:.1f} %",
        tile=lambda report: f"noise alone reaches {100 * report.ece_noise:.1f} %", compared=True, by_draws=True,
        untested="binning biases it by noise that differs between methods",
    ),
    MetricSpec(
        name="ece_equal_mass", title="ECE, equal mass", function=part(ece_figures, "ece_equal_mass"), unit="%",
        interval=Deviation(part(ece_figures, "ece_equal_mass_distance"), _square), higher_is_better=False,
        remark="15 bins of equally many examples", printed="",
    ),
    MetricSpec(
        name="confidence_gap", title="confidence less accuracy", unit="%", contribution=_gap,
        interval=Studentised(error_of_mean(_gap), least=-1.0), remark="positive is over-confident",
    ),
    *(
        MetricSpec(
            name=name, title=title, function=part(calibration_figures, name), unit="%", higher_is_better=False,
            remark=remark,
        )
        for name, title, remark in (
            ("ece_debiased", "ECE, debiased", "less what noise in bins adds"),
            ("rms_debiased", "RMS calibration error, debiased", ""),
            ("mce", "MCE", "the bin that is most wrong, however few are in it"),
            ("smooth_ece", "smooth ECE", "without bins"),
        )
    ),
)  # fmt: skip
