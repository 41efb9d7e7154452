"""How often do intervals of reports on several labels a row, and on tokens, hold the population's figures? By simulation.

Labels of a row err together: their probabilities are right (or too sure), and a common part of the noise decides them.

python -m paper_repro.statistics.clustered
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import log_softmax, ndtr

from bayespeft.report import MultiLabelReport, TokenReport
from bayespeft.report.metric import Metric
from paper_repro.results import read
from paper_repro.statistics.coverage import measure

EXPERIMENT = "clustered_coverage"
POPULATION, REPEATS, RESAMPLES = 60_000, 400, 200
SIZES = (50, 300)
COMMON = 0.5
"""Correlation of the noise of two labels of a row."""
LAWS = {"calibrated": (1.0, 1.5), "over-confident": (0.5, 1.5), "19 of 20 right": (1.0, 8.0)}
"""Name -> temperature that the predictions lack, spread of the true logits."""
LABELS, TAGS = 4, ("O", "B-A", "B-B")
Report = MultiLabelReport | TokenReport


def _uniform(owner: np.ndarray[Any, Any], rows: int, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Uniform numbers that correlate within a row."""
    common = rng.normal(size=(rows, *(1 for _ in shape[1:])))[owner]
    return ndtr(COMMON**0.5 * common + (1 - COMMON) ** 0.5 * rng.normal(size=shape))


def several(n: int, law: str, seed: int, resamples: int) -> MultiLabelReport:
    """A report on four labels, of which the last is rare."""
    temperature, sharpness = LAWS[law]
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, LABELS)) - np.array([0, 0, 0, 2 * sharpness])
    labels = (_uniform(np.arange(n), n, (n, LABELS), rng) < 1 / (1 + np.exp(-logits))).astype(int)
    stated = logits / temperature
    return MultiLabelReport.from_log_probs(
        -np.logaddexp(0, -stated), -np.logaddexp(0, stated), labels, resamples=resamples, seed=seed
    )


def tokens(n: int, law: str, seed: int, resamples: int) -> TokenReport:
    """A report on rows of one to fifteen tokens of three tags."""
    temperature, sharpness = LAWS[law]
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(n), rng.integers(1, 16, n))
    logits = sharpness * rng.normal(size=(len(owner), len(TAGS)))
    falls = np.exp(log_softmax(logits, axis=1)).cumsum(axis=1)
    labels = (_uniform(owner, n, owner.shape, rng)[:, None] > falls[:, :-1]).sum(axis=1)
    stated = log_softmax(logits / temperature, axis=1)
    return TokenReport.from_log_probs(stated, labels, owner, n, names=TAGS, resamples=resamples, seed=seed)


KINDS: dict[str, Callable[[int, str, int, int], Report]] = {"several labels": several, "tokens": tokens}


def figures(report: Report) -> Iterator[tuple[str, Metric | None]]:
    """What a report prints with an interval."""
    names = ["nll", "brier", "skill", "confidence_gap", "ece"]
    if isinstance(report, MultiLabelReport):
        names += ["micro_f1", "subset_accuracy", "label_accuracy", "excess"]
        parts = {"frequent label": report.by_label[0], "rare label": report.by_label[-1]}
    else:
        names += ["nll_per_token", "accuracy"]
        assert report.entities is not None
        assert report.by_class is not None
        parts = {"entities": report.entities, "entity A": report.entities.by_type[0], "O": report.by_class.figures[0]}
    for name in names:
        yield name.replace("_", " "), getattr(report, name)
    for part, own in parts.items():
        for name in ("f1", "precision", "recall", "ece"):
            metric = getattr(own, name, None)
            if metric is None or isinstance(metric, Metric):
                yield f"{name} of {part}", metric


def simulate(kind: str, law: str, n: int) -> None:
    truth = {name: m.value for name, m in figures(KINDS[kind](POPULATION, law, 1_000_000, 1)) if m is not None}
    samples = (figures(KINDS[kind](n, law, seed, RESAMPLES)) for seed in range(REPEATS))
    measure(EXPERIMENT, truth, samples, kind=kind, law=law, rows=n, resamples=RESAMPLES)


def main() -> None:
    done = {(r["kind"], r["law"], r["rows"]) for r in read(EXPERIMENT)}
    for kind in KINDS:
        for law in LAWS:
            for n in SIZES:
                if (kind, law, n) not in done:
                    simulate(kind, law, n)


if __name__ == "__main__":
    main()
