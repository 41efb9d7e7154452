"""How often do a report's 95 % intervals hold what they say they cover: the population's figure? By simulation.

Beside them the percentiles of resamples, which all figures once had. A figure that has no interval in some samples, for too few
errors, is counted over those that have one.

python -m paper_repro.statistics.intervals
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bayespeft.report.bootstrap import intervals
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.intervals import Percentile
from bayespeft.report.metrics.spec import MetricSpec, table
from paper_repro.results import read
from paper_repro.statistics.coverage import measure

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


RULES: dict[str, Sequence[MetricSpec]] = {
    "now": table(),
    "percentiles": [replace(spec, interval=Percentile()) for spec in table() if not spec.of_labels],
}
"""Name -> the metrics, with the intervals that they have."""


def figures(sample: Sample, rule: str, resamples: int, seed: int) -> Iterator[tuple[str, Metric]]:
    """All figures of a report that have an interval."""
    log_probs, labels = sample
    specs = [
        spec for spec in RULES[rule] if not spec.name.startswith(("accuracy_at", "coverage_at")) or "0.8" in spec.name
    ]
    for name, figure in intervals(example_scores(log_probs, labels), specs, resamples=resamples, seed=seed).items():
        if isinstance(figure, Metric):
            yield "accuracy at 80 % coverage" if "coverage" in name else name, figure


def simulate(law: str, n: int, rule: str, repeats: int) -> None:
    population = draw(POPULATION, law, 1_000_000)
    truth = {name: metric.value for name, metric in figures(population, "percentiles", 1, 0)}
    samples = (figures(draw(n, law, seed), rule, RESAMPLES, seed) for seed in range(repeats))
    measure(EXPERIMENT, truth, samples, law=law, rows=n, rule=rule, resamples=RESAMPLES)


def main() -> None:
    for n, repeats in ((50, 400), (300, 400)):
        for law in LAWS:
            for rule in RULES:
                if not any((r["law"], r["rows"], r.get("rule")) == (law, n, rule) for r in read(EXPERIMENT)):
                    simulate(law, n, rule, repeats)


if __name__ == "__main__":
    main()
