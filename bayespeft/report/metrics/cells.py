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

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bayespeft.report.binning import N_BINS, Floats, Ints, bin_edges, bin_index
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.intervals import Deviation
from bayespeft.report.metrics.spec import MetricSpec
from bayespeft.report.metrics.tally import Ordered, Tally, part

if TYPE_CHECKING:
    from scipy import sparse

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


# Probabilities in first bins are kept up to so many; of more they are computed anew for each call.
KEPT = 1 << 24


class Cells:
    """Sums over cells of resamples of ordered examples.

    Probabilities of an example sum to 1, so that all but a few of them are in the first bins of their classes. The others are
    held as a sparse matrix; sums of the first bins are a product of dense matrices, some classes at a time, and their counts
    what the other bins leave.

    Attributes:
        square: what `deviation` wants of `ece_classwise`.
    """

    def __init__(self, ordered: Ordered) -> None:
        from scipy import sparse  # slow to import

        scores = ordered.scores
        n, self.classes, self._bins = len(scores), scores.classes, ordered.n_bins
        self._law = scores.law
        self._edge = bin_edges(self._bins)[1] if self._bins > 1 else np.inf
        self._matrices: tuple[sparse.csr_matrix, ...]
        own = np.empty(n, dtype=np.int64)
        above: list[tuple[Floats, Ints, Ints]] = []
        for start, p in self._law.blocks():
            row, column = np.nonzero(p >= self._edge)
            values = p[row, column]
            above.append((values, (start + column) * self._bins + bin_index(values, self._bins), row))
            here = np.flatnonzero((scores.labels >= start) & (scores.labels < start + p.shape[1]))
            k = scores.labels[here]
            own[here] = k * self._bins + bin_index(p[here, k - start], self._bins)
        values, cell, row = (np.concatenate(parts) for parts in zip(*above, strict=True))
        shape = (self.classes * self._bins, n)
        self._matrices = (
            sparse.csr_matrix((np.ones(len(values)), (cell, row)), shape=shape),
            sparse.csr_matrix((values, (cell, row)), shape=shape),
            sparse.csr_matrix((np.ones(n), (own, np.arange(n))), shape=shape),
        )
        self._kept = list(self._parts()) if n * self.classes <= KEPT else None
        if self._kept is not None:
            self._matrices = ()
        whole = np.ones((1, n))
        self._gaps = np.concatenate([sums - right for _, sums, right in self._blocks(whole)], axis=1)
        # Each class's error of an example is |p_ik - y_ik|, and the sum of these over classes 2 (1 - p_iy).
        self.square = float(((2 * (1 - np.exp(-scores.nll)) / self.classes) ** 2).mean())

    def _parts(self) -> Iterator[tuple[Floats, tuple[sparse.csr_matrix, ...]]]:
        """Yield, for some classes at a time, the probabilities, with 0 for those beyond the first bin, and what is sparse:
        counts and sums of the cells of the other bins, and labels in all cells, (cells, n) each.
        """
        for start, p in self._law.blocks():
            p[p >= self._edge] = 0
            cells = slice(start * self._bins, (start + p.shape[1]) * self._bins)
            yield p, tuple(m[cells] for m in self._matrices)

    def _blocks(self, drawn: Floats) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Yield counts of examples, sums of probabilities and counts of labels in the cells of some classes, (R, classes,
        bins) each, for how often each example was drawn, (R, n).
        """
        by_example = np.ascontiguousarray(drawn.T)
        for p, matrices in self._parts() if self._kept is None else self._kept:
            counts, sums, right = (
                np.asarray(m @ by_example).T.reshape(len(drawn), p.shape[1], self._bins) for m in matrices
            )
            counts[:, :, 0] = drawn.sum(axis=1, keepdims=True) - counts.sum(axis=2)
            sums[:, :, 0] = drawn @ p
            yield counts, sums, right

    def __call__(self, tally: Tally) -> dict[str, Floats]:
        """Return `ece_classwise`, its distance from the sample's gaps, and the parts of the Brier score, `brier_...`, in each
        resample: (R,) each.
        """
        n, first = tally.n, 0
        error, distance, reliability, resolution, squares = (np.zeros(len(tally.counts)) for _ in range(5))
        for counts, sums, right in self._blocks(tally.counts):
            size = np.maximum(counts, 1)
            share = right.sum(axis=2) / n
            gaps = sums - right
            error += np.abs(gaps).sum(axis=(1, 2))
            distance += np.abs(gaps - self._gaps[:, first : first + gaps.shape[1]]).sum(axis=(1, 2))
            reliability += (gaps**2 / size).sum(axis=(1, 2))
            resolution += (counts * (right / size - share[:, :, None]) ** 2).sum(axis=(1, 2))
            squares += (share**2).sum(axis=1)
            first += gaps.shape[1]
        reliability, resolution, uncertainty = reliability / n, resolution / n, 1 - squares
        return {
            "ece_classwise": error / (n * self.classes),
            "ece_classwise_distance": distance / (n * self.classes),
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
