"""How often do a report's 95 % intervals hold what they say they cover: the population's figure? By simulation.

python -m paper_repro.statistics.intervals
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bayespeft.report.bootstrap import intervals
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import example_scores
from paper_repro.results import append

EXPERIMENT = "interval_coverage"
POPULATION, RESAMPLES = 100_000, 200
Sample = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]

LAWS = {
    "calibrated, 2 classes": (2, 1.0, 1.5),
    "over-confident, 4 classes": (4, 0.5, 1.5),
    "calibrated, 19 of 20 right": (2, 1.0, 6.0),
}
"""Name -> classes, temperature that the predictions lack, spread of the true logits."""


def draw(n: int, law: str, seed: int) -> Sample:
    """Labels from known probabilities, predicted at another temperature."""
    classes, temperature, sharpness = LAWS[law]
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    scaled = logits / temperature
    return scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True), labels


def figures(sample: Sample, resamples: int) -> Iterator[tuple[str, Metric]]:
    """All figures of a report that have an interval."""
    log_probs, labels = sample
    scores = example_scores(log_probs, labels)
    for name, figure in intervals(scores, resamples=resamples).items():
        if isinstance(figure, Metric) and not name.startswith("accuracy_at_coverage"):
            yield name, figure
        elif isinstance(figure, Metric) and name.endswith(".0.8"):
            yield "accuracy at 80 % coverage", figure


def measure(law: str, n: int, repeats: int) -> None:
    truth = {name: metric.value for name, metric in figures(draw(POPULATION, law, 1_000_000), 1)}
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for seed in range(repeats):
        for name, metric in figures(draw(n, law, seed), RESAMPLES):
            held.setdefault(name, []).append(metric.low <= truth[name] <= metric.high)
            widths.setdefault(name, []).append(metric.high - metric.low)
    for name, hits in held.items():
        append(
            EXPERIMENT, law=law, rows=n, figure=name, truth=round(truth[name], 5), repeats=len(hits),
            resamples=RESAMPLES, held=round(float(np.mean(hits)), 4), width=round(float(np.mean(widths[name])), 4),
        )  # fmt: skip


def main() -> None:
    for n, repeats in ((50, 400), (300, 400)):
        for law in LAWS:
            measure(law, n, repeats)


if __name__ == "__main__":
    main()
