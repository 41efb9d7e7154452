"""Every class's probabilities in bins: the class-wise calibration error, and the parts of the Brier score.

A cell is a class k and a bin b of equal width; example i is in K cells, those of its probabilities p_ik. With the cell's
count n, mean probability p, share o of examples that are of class k, and N examples in all, the Brier score of class k is

    sum_b n/N (p - o)^2  -  sum_b n/N (o - o_k)^2  +  o_k (1 - o_k)  +  within_k
      reliability             resolution               uncertainty

exactly: Murphy 1973 (J. Applied Meteorology 12(4)), with the two terms that Stephenson et al. 2008 (Weather and Forecasting
23(4)) add where probabilities within a bin differ, within_k = mean over examples of (p_ik - p)^2 - 2 (p_ik - p)
(y_ik - o). Summed over classes these are the parts of the Brier score in [0, 2].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bayespeft.report.binning import N_BINS, Floats, bin_index
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.intervals import Deviation
from bayespeft.report.metrics.spec import MetricSpec
from bayespeft.report.metrics.tally import Ordered, Tally, part

PARTS = ("reliability", "resolution", "uncertainty", "within")


def ece_classwise(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the class-wise expected calibration error: mean over classes of sum_b n/N |p - o|; in [0, 1].

    Kull et al. 2019 (arXiv 1910.12656), section 2; the static calibration error of Nixon et al. 2019. It shrinks with the
    number of classes, as most probabilities are then near 0, and so are their errors.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    return float(_figures(log_probs, labels, n_bins)["ece_classwise"][0])


def brier_parts(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = N_BINS) -> dict[str, float]:
    """Return reliability (0 is best), resolution (high is good), uncertainty (of the labels alone) and within.

    brier = reliability - resolution + uncertainty + within. Resolution is at most uncertainty.

    Raises:
        DataError: see `validate`.
        ConfigError: fewer than one bin.
    """
    found = _figures(log_probs, labels, n_bins)
    return {name: float(found[f"brier_{name}"][0]) for name in PARTS}


class Cells:
    """Sums over cells of resamples of ordered examples.

    Attributes:
        square: what `deviation` wants of `ece_classwise`.
    """

    def __init__(self, ordered: Ordered) -> None:
        p, y = ordered.scores.probs, ordered.scores.labels
        n, self.classes = p.shape
        cell = bin_index(p.ravel(), ordered.n_bins).reshape(n, -1).astype(np.int32)
        cell += ordered.n_bins * np.arange(self.classes, dtype=np.int32)
        shape, starts = (n, self.classes * ordered.n_bins), np.arange(n + 1) * self.classes
        self._sums = sparse.csr_matrix((p.ravel(), cell.ravel(), starts), shape=shape).T
        self._counts = sparse.csr_matrix((np.ones(p.size), cell.ravel(), starts), shape=shape).T
        own = cell[np.arange(n), y]
        self._right = sparse.csr_matrix((np.ones(n), own, np.arange(n + 1)), shape=shape).T
        self._gaps = np.asarray((self._sums - self._right) @ np.ones(n))
        # Each class's error of an example is |p_ik - y_ik|, and the sum of these over classes 2 (1 - p_iy).
        self.square = float(((2 * (1 - p[np.arange(n), y]) / self.classes) ** 2).mean())

    def __call__(self, tally: Tally) -> dict[str, Floats]:
        """Return `ece_classwise`, its distance from the sample's gaps, and the parts of the Brier score, `brier_...`, in each
        resample: (R,) each.
        """
        counts, sums, right = ((m @ tally.counts.T).T for m in (self._counts, self._sums, self._right))
        n = tally.n
        size = np.maximum(counts, 1)
        share = right.reshape(len(right), self.classes, -1).sum(axis=2) / n
        base = np.repeat(share, counts.shape[1] // self.classes, axis=1)
        reliability = ((sums - right) ** 2 / size).sum(axis=1) / n
        resolution = (counts * (right / size - base) ** 2).sum(axis=1) / n
        uncertainty = 1 - (share**2).sum(axis=1)
        return {
            "ece_classwise": np.abs(sums - right).sum(axis=1) / (n * self.classes),
            "ece_classwise_distance": np.abs(sums - right - self._gaps).sum(axis=1) / (n * self.classes),
            "brier_reliability": reliability,
            "brier_resolution": resolution,
            "brier_uncertainty": np.maximum(uncertainty, 0),
            "brier_within": tally.mean(tally.ordered.scores.brier) - (reliability - resolution + uncertainty),
        }


def cell_figures(tally: Tally) -> dict[str, Floats]:
    """Return what `Cells` measures on these resamples."""
    return tally.ordered.once(Cells)(tally)


def _figures(log_probs: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int) -> dict[str, Floats]:
    return cell_figures(Tally.whole(example_scores(log_probs, labels), n_bins))


METRICS = (
    MetricSpec(
        name="ece_classwise", title="ECE, class-wise", function=part(cell_figures, "ece_classwise"), unit="%",
        interval=Deviation(part(cell_figures, "ece_classwise_distance"), lambda ordered: ordered.once(Cells).square),
        higher_is_better=False, remark="of each class's probability, averaged", classwise=True,
    ),
    *(
        MetricSpec(
            name=f"brier_{name}", title=f"Brier: {title}", function=part(cell_figures, f"brier_{name}"),
            higher_is_better=better, remark=remark, of_labels=name == "uncertainty", classwise=True,
        )
        for name, title, better, remark in (
            ("reliability", "reliability", False, "of each class's probability, in bins; less is better"),
            ("resolution", "resolution", True, "more is better"),
            ("uncertainty", "uncertainty", None, "of labels alone"),
            ("within", "within bins", None, "what bins hide"),
        )
    ),
)  # fmt: skip
