"""`MultiLabelReport`: how good, and how honest, probabilities of labels are of which an example may have several. Numbers only.

A label is predicted where its probability is at least one half. Intervals cover the figure that endlessly many examples of the
same law would give, and take examples with all their labels; see `clustered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.base import Report
from bayespeft.report.binning import Floats, equal_width_error
from bayespeft.report.bootstrap import ece_noise, skill_score
from bayespeft.report.clustered import Ratio, fraction, ratios
from bayespeft.report.context import Quotes
from bayespeft.report.grouped import FEWEST, WORK, Calibration, Pooled, pooled_calibration
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import LOG_ZERO, SUM_TOLERANCE, as_array
from bayespeft.report.proportions import proportion
from bayespeft.report.verdict import Kind, Verdict, one_sided, two_sided
from bayespeft.utils.annotations import MAYBE_NAN, Resamples, Seed
from bayespeft.utils.checks import checked_methods


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How one label fares.

    Attributes:
        name: as the data calls it, or its number.
        n: examples that have it.
        predicted: examples that it was predicted for.
        precision: share of these that have it; None where there is none.
        recall: share of those that have it for which it was predicted; None where there is none.
        f1: their harmonic mean, 2 TP / (2 TP + FP + FN); None where it neither occurs nor was predicted.
        claimed: mean probability: of a calibrated model the share of examples that have it, n / all.
        ece: expected calibration error of its probability, over 15 bins, without an interval; beside it
        noise: what sampling noise alone reaches in 5 % of samples; see `bootstrap.ece_noise`.
    """

    name: str
    n: int
    predicted: int
    precision: Metric | None
    recall: Metric | None
    f1: float | None
    claimed: float
    ece: float
    noise: float


@checked_methods
@dataclass(frozen=True, slots=True)
class MultiLabelReport(Pooled, Report):
    """Metrics of predicted probabilities of labels with 95 % intervals, and what the prediction cost.

    Attributes:
        nll: mean negative log-likelihood, summed over the labels of an example, each taken by itself; nats per example.
        micro_f1: 2 TP / (2 TP + FP + FN) over all labels together; None where no label occurs or was predicted.
        macro_f1: mean over the labels that occur or were predicted of each one's, without an interval; None as above.
        subset_accuracy: share of examples of which every label is right.
        label_accuracy: share of single labels that are right.
        brier: mean squared error of the probabilities, over labels, in [0, 1].
        calibration: of all labels' probabilities together.
        confidence_gap: mean probability of what is predicted of a label, on or off, less `label_accuracy`: positive is
            over-confident.
        excess: mean probability less the share of labels that are on: positive claims labels too often.
        base_nll: NLL of the base rates of the labels among these rows, nats per example.
        skill: 1 - NLL / NLL of the base rates: 0 is no better than these. None where no label varies.
        labels: K.
        cardinality: mean number of labels of an example.
        by_label: figures of each.
        entropy: mean entropy of the predicted probabilities, summed over labels, nats per example.
        mutual_information: mean mutual information of each label and the weights, summed over labels, nats per example: the
            epistemic part. None with fewer than two draws.
        quotes: rows of the data that are worth looking at; None where none were asked for.
    """

    WHAT: ClassVar[str] = "a report on several labels an example"
    VIEW: ClassVar[str] = "multi_label"

    nll: Metric
    micro_f1: Metric | None
    macro_f1: float | None
    subset_accuracy: Metric
    label_accuracy: Metric
    brier: Metric
    calibration: Calibration
    confidence_gap: Metric
    excess: Metric
    base_nll: float
    skill: Metric | None
    labels: int
    cardinality: float
    by_label: tuple[LabelFigures, ...]
    entropy: float
    mutual_information: float | None = None
    quotes: Quotes | None = None

    @classmethod
    def from_log_probs(
        cls,
        on: npt.ArrayLike,
        off: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        names: Sequence[str] = (),
        mutual_information: Annotated[float, MAYBE_NAN] | None = None,
        quotes: Quotes | None = None,
        seed: Seed = 0,
        resamples: Resamples = 1000,
        **facts: Any,
    ) -> MultiLabelReport:
        """Measure predictions.

        Args:
            on: (n, K) natural-log probabilities that an example has a label, already averaged over draws as probabilities.
            off: (n, K) that it has not.
            labels: (n, K), 1 where it has it, else 0.
            names: of the labels; numbers where there are none.
            mutual_information: see the class.
            quotes: from `quotes.chosen`.
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples, and simulated samples.
            facts: the attributes of `Report` from `draws` on.

        Raises:
            DataError: no arrays, shapes differ, there is no example, probabilities don't sum to 1, or labels are not 0 or 1.
            ConfigError: `resamples` is below 1.
        """
        log_on, log_off, y = validate(on, off, labels)
        n, k = y.shape
        p = np.exp(log_on)
        predicted = (p >= 0.5).astype(np.float64)
        nll = -np.where(y == 1, log_on, log_off)
        rates = y.mean(axis=0)
        with np.errstate(divide="ignore"):
            base = -np.where(y == 1, np.log(rates), np.log(1 - rates))
        right = 1 - np.abs(predicted - y)
        options: dict[str, Any] = {"resamples": resamples, "seed": seed}
        fewer = {**options, "resamples": min(resamples, max(WORK // y.size, FEWEST))}
        one, hits, marked = np.ones(n), predicted * y, predicted + y
        found = ratios(
            {
                "nll": Ratio(nll.sum(axis=1), one), "brier": Ratio(((p - y) ** 2).mean(axis=1), one, most=1.0),
                "gap": Ratio((np.maximum(p, 1 - p) - right).mean(axis=1), one, -1.0, 1.0),
                "excess": Ratio((p - y).mean(axis=1), one, -1.0, 1.0),
            },
            **options,
        )  # fmt: skip
        accuracy = fraction(Ratio(right.sum(axis=1), k * one))
        assert accuracy is not None, "every example has labels, on or off"
        return cls(
            nll=found["nll"],
            micro_f1=fraction(Ratio(2 * hits.sum(axis=1), marked.sum(axis=1))),
            macro_f1=_macro(hits, marked),
            subset_accuracy=proportion(float(right.all(axis=1).mean()), n),
            label_accuracy=accuracy,
            brier=found["brier"],
            calibration=pooled_calibration(p.ravel(), y.ravel(), np.repeat(np.arange(n), k), n, **options),
            confidence_gap=found["gap"],
            excess=found["excess"],
            base_nll=max(float(base.sum(axis=1).mean()), 0.0),
            skill=skill_score(nll.sum(axis=1)[:, None], base.sum(axis=1)[:, None], **options),
            labels=k,
            cardinality=float(y.sum(axis=1).mean()),
            by_label=tuple(
                _figures(str(names[i]) if i < len(names) else str(i), p[:, i], y[:, i], **fewer) for i in range(k)
            ),
            entropy=float(-(p * log_on + (1 - p) * log_off).sum(axis=1).mean()),
            mutual_information=mutual_information,
            quotes=quotes,
            n=n,
            **facts,
        )

    @property
    def verdict(self) -> Verdict:
        """What the figures say; see `verdict.Verdict` for its kinds.

        Where calibration is rejected, it is "over" or "under" if the confidence in what is predicted of single labels is
        off by at least half of the calibration error; "high" or "low" if the share of labels is; else "both".
        """
        error = self.ece.value
        if self.calibration.rejected:
            excess = self.excess.value
            if (found := one_sided(self.confidence_gap.value, error, "Single labels are")) is not None:
                return found
            if abs(excess) >= error / 2:
                kind: Kind = "high" if excess > 0 else "low"
                often = "more" if excess > 0 else "less"
                reason = f"It expects labels {often} often than they occur."
                return Verdict(
                    kind, f"probabilities are too {kind} by {100 * abs(excess):.1f} points", reason, abs(excess)
                )
            return two_sided(error, "labels")
        return self.calibration.within_noise(self.n, self.skill, "every row the base rate of each label")

    @property
    def headline(self) -> str:
        """The verdict, with the numbers behind it."""
        f1 = "" if self.micro_f1 is None else f"micro F1 {100 * self.micro_f1.value:.1f} %, "
        skill = "" if self.skill is None else f", skill {100 * self.skill.value:.0f} %"
        return (
            f"{self.verdict} ({f1}all labels of a row right in {100 * self.subset_accuracy.value:.1f} %, ECE "
            f"{100 * self.ece.value:.1f} %{skill})"
        )


def validate(on: npt.ArrayLike, off: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Check log-probabilities and labels, and return them as float64 (n, K), probabilities summing to 1.

    The log of a probability of 0 counts as `LOG_ZERO`.

    Raises:
        DataError: see `MultiLabelReport.from_log_probs`.
    """
    p, q, y = (as_array(values, name, np.float64) for name, values in {"on": on, "off": off, "labels": labels}.items())
    if p.ndim != 2 or 0 in p.shape or p.shape != q.shape or p.shape != y.shape:
        raise DataError(
            f"log-probabilities have the shapes {p.shape} and {q.shape}, and labels {y.shape}: (examples, labels), with "
            "at least one of each, is expected of all."
        )
    total = np.logaddexp(p, q)
    wrong = ~(np.abs(np.expm1(total)) <= SUM_TOLERANCE)
    if wrong.any():
        row, label = np.argwhere(wrong)[0]
        raise DataError(
            f"the probabilities of label {label} at row {row} sum to {np.exp(total[row, label]):.6g}, not 1."
        )
    if not np.isin(y, (0, 1)).all():
        row, label = np.argwhere(~np.isin(y, (0, 1)))[0]
        raise DataError(f"row {row} has {y[row, label]:g} at label {label}: 1 where it has the label, else 0.")
    p, q = (np.where(np.isneginf(one), LOG_ZERO, np.minimum(one - total, 0)) for one in (p, q))
    return p, q, y


def _macro(hits: Floats, marked: Floats) -> float | None:
    """Return the mean F1 of the labels that there are.

    It has no interval: a label that few examples have is all right or all wrong, and no resample of them knows more.

    Args:
        hits: (n, K), 1 where a label is there and predicted.
        marked: (n, K), 1 for each of the two.
    """
    total = marked.sum(axis=0)
    there = total > 0
    return float((2 * hits.sum(axis=0)[there] / total[there]).mean()) if there.any() else None


def _figures(name: str, p: Floats, y: Floats, *, resamples: int, seed: int) -> LabelFigures:
    predicted = p >= 0.5
    hits, given, own = int((y[predicted]).sum()), int(predicted.sum()), int(y.sum())
    return LabelFigures(
        name=name,
        n=own,
        predicted=given,
        precision=proportion(hits / given, given) if given else None,
        recall=proportion(hits / own, own) if own else None,
        f1=2 * hits / (given + own) if given + own else None,
        claimed=float(p.mean()),
        ece=equal_width_error(p, y),
        noise=ece_noise(p, resamples=resamples, seed=seed),
    )
