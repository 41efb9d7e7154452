"""`LanguageReport`: how probable given targets are, by sequence and by token. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.base import Report
from bayespeft.report.clustered import Ratio, ratios
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import as_array
from bayespeft.utils.annotations import ELSEWHERE, Resamples, Seed
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, slots=True)
class LanguageReport(Report):
    """Metrics of targets' probabilities with 95 % bootstrap intervals over examples, and what they cost.

    Attributes:
        nll: mean -log p(target | source), in nats per example.
        nll_per_token: -log p of all targets together over all their tokens, in nats per token.
        perplexity: exp of that; infinity above 1.8e308, the largest float, which JSON has as null.
        tokens: scored tokens of all examples, the end tokens included.
    """

    WHAT: ClassVar[str] = "a report of a language model"
    VIEW: ClassVar[str] = "language"

    nll: Metric
    nll_per_token: Metric
    perplexity: Metric
    tokens: int

    @classmethod
    def from_log_likelihood(
        cls,
        log_likelihood: npt.ArrayLike,
        tokens: npt.ArrayLike,
        *,
        seed: Seed = 0,
        resamples: Resamples = 1000,
        **facts: Any,
    ) -> LanguageReport:
        """Measure targets.

        The interval of the ratio nll_per_token is that of its linearisation in the two sums (Efron & Tibshirani 1993,
        section 10.5); perplexity's is the exponential of it.

        Args:
            log_likelihood: (n,) log p(target | source), nats.
            tokens: (n,) scored tokens, at least 1 each.
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples.
            facts: the attributes from `draws` on.

        Raises:
            DataError: no arrays, shapes differ, there is no example, a target has no token, or a number is not finite.
            ConfigError: `resamples` is below 1.
        """
        nll, count = -as_array(log_likelihood, "log_likelihood", np.float64), as_array(tokens, "tokens", np.float64)
        if nll.ndim != 1 or nll.shape != count.shape or len(nll) == 0:
            raise DataError(
                f"{nll.shape} log-likelihoods and {count.shape} token counts: one of each per example is needed."
            )
        bad = ~np.isfinite(nll) | ~np.isfinite(count) | ~(count >= 1)
        if bad.any():
            row = int(bad.argmax())
            raise DataError(f"example {row} has the log-likelihood {-nll[row]} over {count[row]:g} tokens.")
        columns = {"nll": Ratio(nll, np.ones(len(nll))), "nll_per_token": Ratio(nll, count)}
        found = ratios(columns, resamples=resamples, seed=seed)
        per = found["nll_per_token"]
        return cls(
            nll=found["nll"],
            nll_per_token=per,
            perplexity=_exp(per),
            n=len(nll),
            tokens=int(count.sum()),
            **facts,
        )

    @classmethod
    def from_dict(cls, values: Annotated[dict[str, Any], ELSEWHERE]) -> LanguageReport:
        """As the base; infinity, which JSON lacks, comes back."""
        found = super(LanguageReport, cls).from_dict(values)  # by name: slots make the class anew
        return replace(found, perplexity=_exp(found.nll_per_token))

    @property
    def headline(self) -> str:
        """The perplexity, and over what."""
        return f"perplexity {self.perplexity.value:.3g} over {self.tokens:,} tokens of {self.n:,} targets"


def _exp(metric: Metric) -> Metric:
    with np.errstate(over="ignore"):
        return metric.through(lambda x: float(np.exp(x)))
