"""Answer or abstain, with the risk among answers controlled.

The rule answers where confidence >= t. Its risk R(t) is P(wrong | confidence >= t) for a new example. Which of many
thresholds t have R(t) <= risk is tested on validation data, for all of them together at the level delta:

- The thresholds are fixed beforehand, even in the log-odds of confidence, so that they don't depend on the data.
- For one of them, with N validation examples answered and E of these wrong, E is Binomial(N, R(t)) given N. So
  p = P(Binomial(N, risk) <= E) is a p-value of the hypothesis R(t) > risk; this is Clopper & Pearson's upper bound turned
  around, which is below `risk` iff p < its level.
- The fallback procedure (Wiens 2003, Pharmaceutical Statistics 2(3); Wiens & Dmitrienko 2005) tests from the highest
  threshold down. A few starting thresholds share delta evenly; whatever was rejected passes its level on to the next
  threshold. It keeps the probability that any true hypothesis is rejected at most delta, however tests depend on each
  other and however R(t) runs.

The answer is the lowest threshold whose hypothesis is rejected. Selection with guaranteed risk (Geifman & El-Yaniv 2017,
arXiv 1705.08500) has the same bound, but halves its way to a threshold that depends on the labels it is tested with; to test
in an order that is fixed beforehand is the idea of Angelopoulos et al. 2021 (arXiv 2110.01052).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import binom

from bayespeft.errors import DataError
from bayespeft.predictive.categorical import Predictive
from bayespeft.report.binning import Floats
from bayespeft.report.fractions import check_fraction
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.predictions import check_alike, probabilities

# Log-odds: the highest threshold (confidence 0.999994), how near they are, and how many steps from start to start.
HIGHEST, STEP, STARTS = 12.0, 0.1, 20


@dataclass(frozen=True)
class Decision:
    """Answers for n examples, and what is promised about them.

    With probability at least 1 - delta over validation data, the rule `confidence >= threshold` answers new examples of the
    same law with an error rate of at most `risk`. Validation data must be independent of training, and its examples of each
    other; both predictions must have the same draws, seed and sampling. Nothing is promised about one finite set of answers,
    whose error rate varies about the rule's, nor under another law.

    Attributes:
        answer: (n,) the most probable class, or -1 where it abstains.
        confidence: (n,) its probability.
        abstained: (n,) bool.
        threshold: least confidence of an answer; infinity where no threshold was found, so that all is abstained from.
        risk: error rate among answers that is guaranteed, or None where no threshold was found.
        delta: probability that the guarantee fails.
        validated: validation examples.
        validated_answers: how many of them the rule answers.
        validated_errors: how many of these answers are wrong.
    """

    answer: npt.NDArray[np.int64]
    confidence: Floats
    abstained: npt.NDArray[np.bool_]
    threshold: float
    risk: float | None
    delta: float
    validated: int
    validated_answers: int
    validated_errors: int

    @property
    def coverage(self) -> float:
        """Share of examples that are answered."""
        return 1 - float(self.abstained.mean())

    def __str__(self) -> str:
        if self.risk is None:
            return (
                f"Abstains from all: {self.validated:,} validation examples show no threshold that keeps the risk (at a "
                f"confidence of {100 * (1 - self.delta):.4g} %). More of them, a larger risk or a larger delta can help."
            )
        return (
            f"Answers {100 * self.coverage:.1f} % of {len(self.answer):,}, where confidence is at least "
            f"{self.threshold:.6f}: the rule's error rate on new data of the same law is at most {100 * self.risk:.4g} %, "
            f"with probability {100 * (1 - self.delta):.4g} % over validation data ({self.validated_errors:,} wrong of "
            f"{self.validated_answers:,} validated)"
        )


def decide(prediction: Predictive, validation: Predictive, *, risk: float, delta: float) -> Decision:
    """Answer where confidence is at least a threshold that is fitted on validation data.

    Args:
        prediction: of what is to be answered.
        validation: of labelled data that neither training nor `prediction` has seen, by the same posterior with the
            same draws, seed and sampling, of which only the numbers of draws and classes can be checked.
        risk: the largest error rate among answers, in (0, 1).
        delta: the largest probability that it is larger all the same, in (0, 1).

    Raises:
        ConfigError: risk or delta is out of range, or the numbers of draws or classes differ. DataError: validation data has
            no labels, there is no example, or log-probabilities are NaN or none.
    """
    check_alike(
        "data", prediction, "validation", draws=validation.draws, classes=validation.log_probs.shape[-1],
        consequence="a threshold holds for predictions of the same classes with the same draws, seed and sampling.",
    )  # fmt: skip
    if validation.labels is None:
        raise DataError(
            "a threshold is fitted on labels: column 'label', 'labels' or 'answer' of validation is missing."
        )
    scores = example_scores(validation.log_probs.numpy(), validation.labels.numpy())
    probs = probabilities(prediction)
    top = probs.argmax(axis=1)
    confidence = probs[np.arange(len(probs)), top]
    threshold = controlled_threshold(scores.confidence, scores.correct, scores.classes, risk=risk, delta=delta)
    abstained = ~(confidence >= threshold)
    kept = scores.confidence >= threshold
    return Decision(
        answer=np.where(abstained, -1, top).astype(np.int64),
        confidence=confidence,
        abstained=abstained,
        threshold=threshold,
        risk=risk if math.isfinite(threshold) else None,
        delta=delta,
        validated=len(kept),
        validated_answers=int(kept.sum()),
        validated_errors=int((1 - scores.correct[kept]).sum()),
    )


def check_guarantee(risk: float, delta: float) -> None:
    """Check that what is to be guaranteed can be: `ConfigError` where risk or delta is no number in (0, 1)."""
    check_fraction("risk", risk, "the largest error rate among answers", 0.05)
    check_fraction("delta", delta, "the largest probability that the guarantee fails", 0.05)


def controlled_threshold(confidence: Floats, correct: Floats, classes: int, *, risk: float, delta: float) -> float:
    """Return the lowest threshold whose risk is shown to be at most `risk` at level `delta`, or infinity.

    Args:
        confidence: (m,) of validation examples.
        correct: (m,) 1.0 or 0.0.
        classes: K; no confidence is below 1 / K, so that the lowest threshold, 0, answers everything.
        risk: see `decide`, as are delta and the errors.
        delta: see `decide`.
    """
    check_guarantee(risk, delta)
    if not len(confidence):
        raise DataError("a threshold is fitted on validation data, and there is none.")
    grid = thresholds(classes)
    order = np.argsort(confidence, kind="stable")
    first = np.searchsorted(confidence[order], grid, side="left")
    errors = np.concatenate([np.cumsum((1 - correct[order])[::-1])[::-1], [0.0]])[first]
    p_values = binom.cdf(errors, len(confidence) - first, risk)
    starts = np.arange(len(grid)) % STARTS == 0
    found, level = math.inf, 0.0
    for threshold, p, start in zip(grid, p_values, starts, strict=True):
        level += delta / starts.sum() if start else 0.0
        if p <= level:
            found = float(threshold)
        else:
            level = 0.0
    return found


def thresholds(classes: int) -> Floats:
    """Return the thresholds on confidence that are tested, highest first; the last one, 0, answers everything."""
    lowest = -math.log(max(classes - 1, 1)) - STEP
    return np.append(expit(np.arange(HIGHEST, lowest, -STEP)), 0.0)
