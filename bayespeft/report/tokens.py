"""`TokenReport`: how good, and how honest, probabilities of tokens' classes are, and the entities in them. Numbers only.

Tokens without a label are left out. Intervals cover the figure that endlessly many rows of the same law would give, and take
rows with all their tokens; see `clustered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.base import Report
from bayespeft.report.binning import Floats
from bayespeft.report.bootstrap import skill_score
from bayespeft.report.classes import Classes, by_class
from bayespeft.report.clustered import Ratio, fraction, ratios
from bayespeft.report.context import Quotes
from bayespeft.report.entities import Entities, entities
from bayespeft.report.grouped import Calibration, Pooled, pooled_calibration
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import as_array, example_scores
from bayespeft.report.verdict import Verdict, one_sided, two_sided
from bayespeft.utils.annotations import MAYBE_NAN, Resamples, Seed
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, slots=True)
class TokenReport(Pooled, Report):
    """Metrics of predicted probabilities of tokens' classes with 95 % intervals, and what the prediction cost.

    Attributes:
        nll: mean negative log-likelihood of a row, summed over its tokens, each taken by itself; nats per row.
        nll_per_token: that of all rows over all their tokens, nats per token.
        accuracy: share of tokens whose most probable class is the label.
        brier: mean squared error of the probabilities, summed over classes, in [0, 2].
        calibration: of the most probable class's probability, over tokens.
        confidence_gap: mean confidence less accuracy: positive is over-confident.
        base_nll: NLL of the classes' frequencies among these tokens, nats per token.
        base_accuracy: frequency of the most frequent class.
        skill: 1 - NLL / NLL of these base rates. None where all tokens are of one class.
        tokens: labelled tokens.
        classes: K.
        entities: spans of tags; None where classes are no tags of entities.
        by_class: figures of each class and the confusion table; None also of more than `classes.MOST`.
        entropy: mean entropy of a token's probabilities, nats.
        mutual_information: mean mutual information of a token's class and the weights, nats: the epistemic part. None with
            fewer than two draws.
        quotes: rows of the data that are worth looking at; None where none were asked for.
    """

    WHAT: ClassVar[str] = "a report on tokens"
    VIEW: ClassVar[str] = "tokens"

    nll: Metric
    nll_per_token: Metric
    accuracy: Metric
    brier: Metric
    calibration: Calibration
    confidence_gap: Metric
    base_nll: float
    base_accuracy: float
    skill: Metric | None
    tokens: int
    classes: int
    entities: Entities | None
    by_class: Classes | None
    entropy: float
    mutual_information: float | None = None
    quotes: Quotes | None = None

    @classmethod
    def from_log_probs(
        cls,
        log_probs: npt.ArrayLike,
        labels: npt.ArrayLike,
        owner: npt.ArrayLike,
        rows: int,
        *,
        names: Sequence[str] = (),
        mutual_information: Annotated[float, MAYBE_NAN] | None = None,
        quotes: Quotes | None = None,
        seed: Seed = 0,
        resamples: Resamples = 1000,
        **facts: Any,
    ) -> TokenReport:
        """Measure predictions.

        Args:
            log_probs: (m, K) natural-log probabilities of labelled tokens, row after row, already averaged over draws as
                probabilities.
            labels: (m,) integers in [0, K).
            owner: (m,) which row each is of, ascending from 0.
            rows: n; some may have no token.
            names: of the classes; B-..., I-... and O are those of entities. Numbers where there are none.
            mutual_information: see the class.
            quotes: from `quotes.chosen`.
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples, and simulated samples.
            facts: the attributes of `Report` from `draws` on.

        Raises:
            DataError: see `metrics.validate`; there is no token; or owners are no rows in ascending order.
            ConfigError: `resamples` is below 1.
        """
        scores = example_scores(log_probs, labels)
        y, of = scores.labels, as_array(owner, "owner")
        if of.shape != y.shape or of.dtype.kind not in "iu" or (np.diff(of) < 0).any() or of[0] < 0 or of[-1] >= rows:
            raise DataError(
                f"owner, of shape {of.shape}, must be one row of {rows} for each of {len(y)} tokens, counted from 0, ascending."
            )
        shares = np.bincount(y, minlength=scores.classes) / len(y)
        base = -np.log(shares[y])
        columns = {
            "nll": scores.nll, "right": scores.correct, "brier": scores.brier, "gap": scores.confidence - scores.correct,
            "base": base, "tokens": np.ones(len(y)),
        }  # fmt: skip
        by_row: dict[str, Floats] = {
            name: np.bincount(of, values, rows).astype(np.float64) for name, values in columns.items()
        }
        tokens = by_row["tokens"]
        accuracy = fraction(Ratio(by_row["right"], tokens))
        assert accuracy is not None, "there is a token"
        named = [str(names[k]) if k < len(names) else str(k) for k in range(scores.classes)]
        options: dict[str, Any] = {"resamples": resamples, "seed": seed}
        found = ratios(
            {
                "nll": Ratio(by_row["nll"], np.ones(rows)),
                "each": Ratio(by_row["nll"], tokens), "brier": Ratio(by_row["brier"], tokens, most=2.0),
                "gap": Ratio(by_row["gap"], tokens, -1.0, 1.0),
            },
            **options,
        )  # fmt: skip
        return cls(
            nll=found["nll"],
            nll_per_token=found["each"],
            accuracy=accuracy,
            brier=found["brier"],
            calibration=pooled_calibration(scores.confidence, scores.correct, of, rows, **options),
            confidence_gap=found["gap"],
            base_nll=max(float(base.mean()), 0.0),
            base_accuracy=float(shares.max()),
            skill=skill_score(by_row["nll"][:, None], by_row["base"][:, None], **options),
            tokens=len(y),
            classes=scores.classes,
            entities=entities(scores.predicted, y, np.log(scores.confidence), of, rows, named),
            by_class=by_class(scores, named, of),
            entropy=float(scores.entropy.mean()),
            mutual_information=mutual_information,
            quotes=quotes,
            n=rows,
            **facts,
        )

    @property
    def verdict(self) -> Verdict:
        """What the figures say; see `verdict.Verdict` for its kinds, and `CalibrationReport.verdict` for the rule."""
        if not self.calibration.rejected:
            return self.calibration.within_noise(self.n, self.skill, "tokens the frequencies of the classes")
        error = self.ece.value
        return one_sided(self.confidence_gap.value, error, "Its tokens are") or two_sided(error, "tokens")

    @property
    def headline(self) -> str:
        """The verdict, with the numbers behind it."""
        found = self.entities
        f1 = "" if found is None or found.f1 is None else f"entity F1 {100 * found.f1.value:.1f} %, "
        skill = "" if self.skill is None else f", skill {100 * self.skill.value:.0f} %"
        right = f"tokens right in {100 * self.accuracy.value:.1f} %, ECE {100 * self.ece.value:.1f} %"
        return f"{self.verdict} ({f1}{right}{skill})"
