"""Sets of classes that hold the label as often as promised, fitted on validation data. Definitions: `metrics.conformal`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bayespeft.data.columns import missing_labels
from bayespeft.errors import ConfigError
from bayespeft.report.binning import Floats
from bayespeft.report.bootstrap import mean_intervals
from bayespeft.report.json_report import JsonReport
from bayespeft.report.making import Making, check_made_alike, making_of
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.conformal import IMPOSSIBLE, class_scores, group_quantiles, quantile
from bayespeft.report.metrics.examples import validate
from bayespeft.report.predictions import ClassPrediction, Predictor, check_alike, probabilities
from bayespeft.report.proportions import proportion
from bayespeft.utils.annotations import ELSEWHERE, Resamples, Seed
from bayespeft.utils.checks import checked_methods

ConformalMethod = Literal["lac", "aps", "raps"]
Per = Literal["all", "class"]
PROMISE = "sets keep their promise for predictions of one posterior and the same classes, draws, seed and sampling."


@dataclass(frozen=True, slots=True)
class ConformalReport(JsonReport):
    """How sets did on labelled data, with 95 % intervals over its examples: exact of the coverage, by resampling of the size.

    Attributes:
        coverage: share of examples whose set holds the label. On one test set it varies about what is promised, not only by
            the test set's sampling, which the interval shows: also by the validation set's.
        size: mean number of classes in a set.
        single: share of sets of one class.
        empty: share of sets of none.
        target: 1 - alpha.
        method: "lac", "aps" or "raps".
        n: examples.
        validation: examples that the sets were fitted on.
        by_class: coverage of the examples of each class; None of one that has none.
    """

    WHAT: ClassVar[str] = "a report on conformal sets"

    coverage: Metric
    size: Metric
    single: float
    empty: float
    target: float
    method: str
    n: int
    validation: int
    by_class: tuple[Metric | None, ...] = ()

    def __str__(self) -> str:
        return (
            f"Sets of {self.size.value:.2f} classes [{self.size.low:.2f}, {self.size.high:.2f}] on average hold the label "
            f"of {100 * self.coverage.value:.1f} % [{100 * self.coverage.low:.1f}, {100 * self.coverage.high:.1f}] of "
            f"{self.n:,} examples (promised: {100 * self.target:.4g} %, fitted on {self.validation:,})"
        )


@checked_methods
@dataclass(frozen=True)
class Conformal:
    """Conformal sets of one posterior; made by `Posterior.conformal`.

    If validation examples and a new one are exchangeable, its set holds its label with a probability of at least
    1 - alpha, over validation sets and new examples together. Exchangeable are their predictions: both are to be made by the
    same posterior with the same draws, seed and sampling. That is checked; of predictions that others made only the numbers of
    draws and classes can be.
    With a threshold for each class (`per="class"`) that holds for the examples of each class, however frequent it is.

    With "aps" and "raps" a set is random, through a uniform number: a hash of the example's probabilities and of the seed. So a
    score is one function of the example, for validation and new examples alike, and a set does not depend on which others are
    asked for with it. Probabilities that differ by rounding, as those of other batches may, have another number.

    Attributes:
        alpha: probability that a set misses the label, at most.
        threshold: sets hold the classes whose score is at most this, one number or (K,); infinity where there are too few
            validation examples to promise anything short of all classes, or of a class to ever leave it out.
        method: "lac", "aps" or "raps".
        validation: number of examples it was fitted on.
        seed: of the uniforms of "aps" and "raps".
        draws: of the validation data's prediction.
        classes: of the same.
        predictor: predicts other data, with the settings that the validation data was predicted with.
        closed: sets leave out classes without any probability, as an example does not offer them. Not where the label of a
            validation example was one: it was then offered.
        making: of the validation data's prediction, where that is known.
    """

    alpha: float
    threshold: float | Floats
    method: ConformalMethod
    validation: int
    seed: int
    draws: int
    classes: int
    predictor: Predictor = field(repr=False)
    closed: bool = field(default=True, repr=False)
    making: Making | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        prediction: ClassPrediction,
        predictor: Predictor,
        *,
        alpha: Annotated[float, ELSEWHERE] = 0.1,
        method: Annotated[ConformalMethod, ELSEWHERE] = "lac",
        per: Per = "all",
        seed: Seed = 0,
    ) -> Conformal:
        """Fit the threshold on a labelled prediction; `predictor` has the same draws, seed and sampling.

        Raises:
            ConfigError: alpha, the method or per can't be used. DataError: there are no labels, or log-probabilities are NaN or
                none.
        """
        if not isinstance(prediction, ClassPrediction):
            raise ConfigError(
                f"conformal sets are fitted on a prediction of classes, not on a {type(prediction).__name__}."
            )
        probs, labels = probabilities(prediction), _labels(prediction)
        scores = class_scores(probs, method, _uniforms(probs, seed))
        own = scores[np.arange(len(labels)), labels]
        check_per(per)
        classes = scores.shape[1]
        groups = (own[labels == k] for k in range(classes))
        threshold = quantile(own, alpha) if per == "all" else group_quantiles(groups, alpha)
        closed = bool((prediction.log_probs.numpy()[np.arange(len(labels)), labels] > IMPOSSIBLE).all())
        return cls(
            alpha,
            threshold,
            method,
            len(labels),
            seed,
            prediction.draws,
            classes,
            predictor,
            closed,
            making_of(prediction),
        )

    def sets(self, data: Any) -> npt.NDArray[np.bool_]:
        """Return which classes are in each example's set, (n, K); never one that the example does not offer.

        Args:
            data: as for `Posterior.predict`, or its result with the draws, seed and sampling of the validation data's.

        Raises:
            ConfigError: it is predicted with another number of draws or classes than the validation data, or, as far as
                is known, by another posterior, temperature, sampling or seed. DataError: log-probabilities are NaN or none.
        """
        prediction = self._prediction(data)
        probs = probabilities(prediction)
        scores = class_scores(probs, self.method, _uniforms(probs, self.seed))
        found = scores <= self.threshold
        return found & (prediction.log_probs.numpy() > IMPOSSIBLE) if self.closed else found

    def report(self, data: Any, *, resamples: Resamples = 1000) -> ConformalReport:
        """Measure coverage and size on labelled data.

        Args:
            data: as for `sets`, with labels, and not the validation data.
            resamples: bootstrap samples.

        Raises:
            DataError: there are no labels; and as `sets`. ConfigError: as `sets`.
        """
        prediction = self._prediction(data)
        labels, sets = _labels(prediction), self.sets(prediction)
        sizes = sets.sum(axis=1).astype(np.float64)
        hit = sets[np.arange(len(labels)), labels].astype(np.float64)
        found = mean_intervals(
            {"size": sizes}, resamples=resamples, seed=self.seed, ranges={"size": (0.0, self.classes)}
        )
        return ConformalReport(
            coverage=proportion(float(hit.mean()), len(labels)),
            size=found["size"],
            single=float((sizes == 1).mean()),
            empty=float((sizes == 0).mean()),
            target=1 - self.alpha,
            method=self.method,
            n=len(labels),
            validation=self.validation,
            by_class=tuple(
                proportion(float(own.mean()), len(own)) if len(own := hit[labels == k]) else None
                for k in range(self.classes)
            ),
        )

    def _prediction(self, data: Any) -> ClassPrediction:
        found = data if isinstance(data, ClassPrediction) else self.predictor.predict(data)
        check_alike(
            "data", "validation data", draws=(found.draws, self.draws), classes=(found.log_probs.shape[-1], self.classes),
            consequence=PROMISE,
        )  # fmt: skip
        check_made_alike("data", "validation data", making_of(found), self.making, consequence=PROMISE)
        return found


def check_per(per: str) -> None:
    """Check that a promise is for "all" or for each "class"; `ConfigError` otherwise."""
    if per not in ("all", "class"):
        raise ConfigError(f"per={per!r} must be 'all' or 'class'.")


def _uniforms(probs: Floats, seed: int) -> Floats:
    """Return a number in [0, 1) for each row, (n,), from a hash of its probabilities and the seed."""
    key, rows = str(seed).encode(), np.ascontiguousarray(probs, dtype="<f8")
    words = [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest(), "little") for row in rows]
    # The 53 bits that a float64 has room for: with more, the largest would round to 1.
    return np.array([word >> 11 for word in words], dtype=np.float64) * 2.0**-53


def _labels(prediction: ClassPrediction) -> npt.NDArray[np.int64]:
    if prediction.labels is None:
        raise missing_labels("a conformal set")
    return validate(prediction.log_probs.numpy(), prediction.labels.numpy())[1]
