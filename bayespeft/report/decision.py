"""Answer or abstain, with the risk among answers controlled: of classes, of quantities, and of texts. See `selection`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayespeft.data.columns import missing_labels
from bayespeft.errors import ConfigError, DataError
from bayespeft.report.binning import Floats
from bayespeft.report.conformal import Per, check_per
from bayespeft.report.making import check_made_alike, making_of
from bayespeft.report.metrics.examples import as_array, validate
from bayespeft.report.predictions import ClassPrediction, QuantityPrediction, check_alike, probabilities
from bayespeft.report.selection import Rule, controlled, fewest

CONSEQUENCE = (
    "a threshold holds for predictions of one posterior and the same classes with the same draws, seed and sampling."
)


@dataclass(frozen=True)
class Decision:
    """Answers for n examples, and what is promised about them.

    With probability at least 1 - delta over validation data, the rule "certainty above a threshold" answers new examples of
    the same law with an error rate of at most `risk`. Validation data must be independent of training, and its examples of
    each other; both predictions must have the same draws, seed and sampling. Nothing is promised about one finite set of
    answers, whose error rate varies about the rule's, nor under another law.

    Where a rule was found for each class, each rule's answers keep the risk, all rules together with that probability.

    Attributes:
        answer: (n,) the most probable class, or -1 where it abstains; (n, d) the predicted mean, or NaN; (n,) texts, or None.
        certainty: (n,) what ranks answers: of classes the confidence, the largest probability; of quantities minus the
            standard deviation, in units of the tolerance, of the least certain output; of texts what was passed.
        abstained: (n,) bool.
        rules: the one rule, or one for each predicted class.
        risk: error rate among answers that is guaranteed, or None where no threshold was found.
        delta: probability that the guarantee fails.
        measure: what `certainty` is, in words.
        class_names: what classes are called; none where they have no names, or answers are no classes.
    """

    answer: npt.NDArray[Any]
    certainty: Floats
    abstained: npt.NDArray[np.bool_]
    rules: tuple[Rule, ...]
    risk: float | None
    delta: float
    measure: str
    class_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names of the classes that are answered with, n of them; None where it abstains.

        Raises:
            ConfigError: classes have no names, or answers are no classes.
        """
        if not self.class_names:
            raise ConfigError(
                "answers have no names here: classes were not named, or answers are no classes; see answer."
            )
        return tuple(None if k < 0 else self.class_names[k] for k in self.answer.tolist())

    @property
    def coverage(self) -> float:
        """Share of examples that are answered."""
        return 1 - float(self.abstained.mean())

    def __str__(self) -> str:
        if self.risk is None:
            return "\n".join(["Abstains from all.", *(self._why(rule, name) for rule, name in self._named())])
        start = f"Answers {100 * self.coverage:.1f} % of {len(self.answer):,}"
        if len(self.rules) == 1:
            return (
                f"{start}, {self._where(self.rules[0])}: {self._promise('the rule')}; {self._evidence(self.rules[0])}."
            )
        lines = [
            f"{name}{self._where(rule)}; {self._evidence(rule)}." if rule.found else self._why(rule, name)
            for rule, name in self._named()
        ]
        return "\n".join([f"{start}: {self._promise('each rule')}.", *lines])

    def _named(self) -> list[tuple[Rule, str]]:
        many = len(self.rules) > 1
        titles = self.class_names or range(len(self.rules))
        return [(rule, f"Class {title}: " if many else "") for rule, title in zip(self.rules, titles, strict=many)]

    def _promise(self, who: str) -> str:
        return (
            f"{who}'s error rate on new data of the same law is at most {100 * (self.risk or 0):.4g} %, with probability "
            f"{100 * (1 - self.delta):.4g} % over validation data"
        )

    def _where(self, rule: Rule) -> str:
        return "all of them" if rule.threshold == -math.inf else f"where {self.measure} is above {rule.threshold:.6g}"

    def _evidence(self, rule: Rule) -> str:
        return f"{rule.errors:,} wrong of {rule.answers:,} answered among {rule.validated:,} validation examples"

    def _why(self, rule: Rule, name: str) -> str:
        if not rule.tested:
            return (
                f"{name}{rule.validated:,} validation examples are too few: at least {rule.needed:,} are needed, more where "
                "some are wrong. More of them, a larger risk or a larger delta can help."
            )
        return (
            f"{name}Too many of the most certain {rule.tested:,} of {rule.validated:,} validation examples are wrong to show "
            f"the risk (at a confidence of {100 * (1 - self.delta):.4g} %). More examples, a larger risk or a larger delta can "
            "help."
        )


def decide(
    prediction: ClassPrediction,
    validation: ClassPrediction,
    *,
    risk: float,
    delta: float,
    per: Per = "all",
    seed: int = 0,
) -> Decision:
    """Answer with the most probable class where confidence is above a threshold that is fitted on validation data.

    Args:
        prediction: of what is to be answered.
        validation: of labelled data that neither training nor `prediction` has seen, by the same posterior with the
            same draws, seed and sampling; of predictions that others made only the numbers of draws and classes can be checked.
        risk: the largest error rate among answers, in (0, 1).
        delta: the largest probability that it is larger all the same, in (0, 1).
        per: "all": one threshold and one risk, that of all answers. "class": one threshold for each predicted class k, with
            P(wrong | answered with k) at most `risk` for all k together; each has delta / K of K classes.
        seed: of the order of equally certain examples in `controlled`.

    Raises:
        ConfigError: risk, delta or per is out of range, or the predictions were made differently, as far as is known.
            DataError: validation data has no labels, there is no example, or log-probabilities are NaN or none.
    """
    check_per(per)
    classes = validation.log_probs.shape[-1]
    check_alike(
        "data", "validation", draws=(prediction.draws, validation.draws),
        classes=(prediction.log_probs.shape[-1], classes), consequence=CONSEQUENCE,
    )  # fmt: skip
    check_made_alike("data", "validation", making_of(prediction), making_of(validation), consequence=CONSEQUENCE)
    if validation.labels is None:
        raise missing_labels("a threshold", "validation")
    _, labels = validate(validation.log_probs.numpy(), validation.labels.numpy())
    own, seen = probabilities(prediction), probabilities(validation)
    (top, confidence), (predicted, known) = ((p.argmax(axis=1), p.max(axis=1)) for p in (own, seen))
    wrong = predicted != labels
    rules: tuple[Rule, ...]
    if per == "all":
        rules = (controlled(known, wrong, risk=risk, delta=delta, seed=seed),)
        answered = rules[0](confidence)
    else:
        rules = tuple(_of_class(k, predicted, known, wrong, risk, delta / classes, seed) for k in range(classes))
        answered = np.stack([rule(confidence) for rule in rules])[top, np.arange(len(top))]
    return _decision(np.where(answered, top, -1), confidence, answered, rules, risk, delta, "confidence")


def decide_quantities(
    prediction: QuantityPrediction,
    validation: QuantityPrediction,
    *,
    risk: float,
    delta: float,
    tolerance: npt.ArrayLike,
    seed: int = 0,
) -> Decision:
    """Answer with the predicted mean where the predictive law is narrower than a threshold that is fitted on validation data.

    An answer is wrong where any of the d outputs is farther from its target than the tolerance.

    Args:
        prediction: of what is to be answered.
        validation: as for `decide`.
        risk: the largest share of wrong answers, in (0, 1).
        delta: as for `decide`.
        tolerance: how far an answer may be off, in the targets' units: one number, or (d,).
        seed: as for `decide`.

    Raises:
        ConfigError: risk, delta or tolerance is out of range, or predictions were made differently, as for `decide`. DataError:
            validation data has no labels, or there is no example.
    """
    outputs = validation.mean.shape[-1]
    check_alike(
        "data", "validation", draws=(prediction.draws, validation.draws), outputs=(prediction.mean.shape[-1], outputs),
        consequence=CONSEQUENCE,
    )  # fmt: skip
    check_made_alike("data", "validation", making_of(prediction), making_of(validation), consequence=CONSEQUENCE)
    limit = _tolerance(tolerance, outputs)
    if validation.labels is None:
        raise missing_labels("a threshold", "validation")
    off = np.abs(validation.mean.numpy() - validation.labels.double().numpy())
    seen, own = (-(p.std.numpy() / limit).max(axis=1) for p in (validation, prediction))
    rule = controlled(seen, (off > limit).any(axis=1), risk=risk, delta=delta, seed=seed)
    answered = rule(own)
    answer = np.where(answered[:, None], prediction.mean.numpy(), np.nan)
    return _decision(answer, own, answered, (rule,), risk, delta, "minus the standard deviation over the tolerance")


def _tolerance(tolerance: npt.ArrayLike, outputs: int) -> Floats:
    try:
        limit = np.asarray(tolerance, dtype=np.float64)
    except (TypeError, ValueError):
        limit = np.zeros(0)
    if limit.shape not in ((), (outputs,)) or not (np.isfinite(limit) & (limit > 0)).all():
        raise ConfigError(
            f"tolerance={tolerance!r}: one positive number in the targets' units, or one for each of {outputs} outputs."
        )
    return limit


def decide_texts(
    texts: Sequence[str],
    certainty: npt.ArrayLike,
    validation_certainty: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    risk: float,
    delta: float,
    seed: int = 0,
) -> Decision:
    """Answer with texts whose score is above a threshold that is fitted on texts of which it is known whether they are right.

    Args:
        texts: (n,) what is to be answered.
        certainty: (n,) a score of each, higher is more certain, such as `Generation.normalised_log_probs`.
        validation_certainty: (m,) the same score of texts written in the same way.
        correct: (m,) bool: which of these are right.
        risk: the largest share of wrong answers, in (0, 1).
        delta: as for `decide`.
        seed: as for `decide`.

    Raises:
        ConfigError: risk or delta is out of range. DataError: numbers of texts and of scores differ, or a score is NaN.
    """
    own = as_array(certainty, "certainty", np.float64)
    if own.shape != (len(texts),) or np.isnan(own).any():
        raise DataError(f"{len(texts)} texts have scores of shape {own.shape}: one for each, none of them NaN.")
    right = as_array(correct, "correct")
    if right.dtype != bool:
        raise DataError(f"`correct` is {right.dtype}: true or false for each validation text is expected.")
    rule = controlled(validation_certainty, ~right, risk=risk, delta=delta, seed=seed)
    answered = rule(own)
    answer = np.array([text if kept else None for text, kept in zip(texts, answered, strict=True)], dtype=object)
    return _decision(answer, own, answered, (rule,), risk, delta, "the score")


def _of_class(
    k: int,
    predicted: npt.NDArray[np.int64],
    certainty: Floats,
    wrong: npt.NDArray[np.bool_],
    risk: float,
    delta: float,
    seed: int,
) -> Rule:
    """The rule for answers with class k; of a class that validation data never gets, nothing is promised."""
    rows = predicted == k
    if not rows.any():
        return Rule(math.inf, 0, 0, 0, 0, fewest(risk, delta))
    return controlled(certainty[rows], wrong[rows], risk=risk, delta=delta, seed=seed)


def _decision(
    answer: npt.NDArray[Any],
    certainty: Floats,
    answered: npt.NDArray[np.bool_],
    rules: tuple[Rule, ...],
    risk: float,
    delta: float,
    measure: str,
) -> Decision:
    kept = risk if any(rule.found for rule in rules) else None
    return Decision(answer, certainty, ~answered, rules, kept, delta, measure)
