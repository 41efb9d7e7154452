"""Coverage and size of conformal sets, marginal and of the worst class, and of conformal intervals, by simulation.

python -m paper_repro.statistics.conformal
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bayespeft.predictive.normal import RegressionPredictive
from bayespeft.report.conformal_intervals import ConformalIntervals
from bayespeft.report.metrics.conformal import METHODS, class_scores, group_quantiles, quantile
from paper_repro.results import append

EXPERIMENT = "conformal"
ALPHA, FITTED, NEW, REPEATS, CLASSES = 0.1, 500, 500, 300, 10
Array = npt.NDArray[np.float64]


def rows(n: int, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.int64]]:
    """Ten classes of unequal frequency, the rare ones harder; predictions are over-confident."""
    shares = np.arange(1, CLASSES + 1) / np.arange(1, CLASSES + 1).sum()
    labels = rng.choice(CLASSES, n, p=shares)
    sharp = np.linspace(1, 3, CLASSES)[labels]
    logits = 2 * (sharp[:, None] * np.eye(CLASSES)[labels] + rng.normal(size=(n, CLASSES)))
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return probs / probs.sum(axis=1, keepdims=True), labels


def sets(method: str, per: str) -> None:
    rng = np.random.default_rng(0)
    covered, worst, size = [], np.zeros((REPEATS, CLASSES)), []
    for i in range(REPEATS):
        probs, labels = rows(FITTED + NEW, rng)
        scores = class_scores(probs, method, rng.random(len(labels)))
        own = scores[np.arange(len(labels)), labels]
        fitted, known = own[:FITTED], labels[:FITTED]
        groups = (fitted[known == k] for k in range(CLASSES))
        limit = quantile(fitted, ALPHA) if per == "all" else group_quantiles(groups, ALPHA)
        found = scores[FITTED:] <= limit
        hits = found[np.arange(NEW), labels[FITTED:]]
        covered.append(hits.mean())
        size.append(found.sum(axis=1).mean())
        worst[i] = [
            hits[labels[FITTED:] == k].mean() if (labels[FITTED:] == k).any() else np.nan for k in range(CLASSES)
        ]
    of_class = np.nanmean(worst, axis=0)
    k = int(of_class.argmin())
    append(
        EXPERIMENT, kind=method, per=per, alpha=ALPHA, fitted=FITTED, new=NEW, repeats=REPEATS,
        covered=round(float(np.mean(covered)), 4), covered_error=round(float(np.std(covered) / REPEATS**0.5), 4),
        worst_class=round(float(of_class[k]), 4),
        worst_class_error=round(float(np.nanstd(worst[:, k]) / np.isfinite(worst[:, k]).sum() ** 0.5), 4),
        size=round(float(np.mean(size)), 3),
    )  # fmt: skip


class AsIs:
    """Data that are predictions already."""

    def predict(self, data: RegressionPredictive) -> RegressionPredictive:
        """Return them."""
        return data


def intervals() -> None:
    rng = np.random.default_rng(0)
    covered, own, width = [], [], []

    def predicted(n: int) -> RegressionPredictive:
        spread = rng.uniform(0.2, 2, (n, 1))
        center = rng.normal(size=(n, 1))
        means = torch.as_tensor(center + 0.5 * spread * rng.normal(size=(4, n, 1)))
        return RegressionPredictive(
            labels=torch.as_tensor(center + spread * rng.normal(size=(n, 1))).float(), draws=4, forward_passes=4,
            seconds=0.0, mean=means.mean(0), epistemic=means.var(0, unbiased=False), noise=0.5, draw_means=means.float(),
        )  # fmt: skip

    for _ in range(REPEATS):
        report = ConformalIntervals.fit(predicted(FITTED), AsIs(), alpha=ALPHA).report(predicted(NEW))
        covered.append(report.coverage.value)
        own.append(report.unadjusted.value)
        width.append(report.width)
    append(
        EXPERIMENT, kind="CQR-r", per="all", alpha=ALPHA, fitted=FITTED, new=NEW, repeats=REPEATS,
        covered=round(float(np.mean(covered)), 4), covered_error=round(float(np.std(covered) / REPEATS**0.5), 4),
        unadjusted=round(float(np.mean(own)), 4), size=round(float(np.mean(width)), 3),
    )  # fmt: skip


def main() -> None:
    for method in METHODS:
        for per in ("all", "class"):
            sets(method, per)
    intervals()


if __name__ == "__main__":
    main()
