"""`RegressionReport`: how good, and how honest, predicted laws of quantities are. Numbers only.

Metrics are means over the d outputs of an example, which share the targets' units, and then over examples; the NLL is that
of an example's outputs together. Intervals resample examples.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.report import regression_metrics as metrics
from bayespeft.report.base import DrawnReport
from bayespeft.report.bootstrap import Metric, mean_intervals
from bayespeft.report.table import regression_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayespeft.report.page import Page

LEVELS = (0.5, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Central intervals that should hold `level` of the targets.

    Attributes:
        level: in (0, 1).
        observed: the fraction that they do hold.
        width: their mean width, in the targets' units.
    """

    level: float
    observed: Metric
    width: float


@dataclass(frozen=True, slots=True)
class RegressionReport(DrawnReport):
    """Metrics of predicted laws with 95 % bootstrap intervals, and what the prediction cost.

    Attributes:
        nll: mean negative log-likelihood, in nats per example; it shifts by d ln c with targets c times as large.
        rmse: root mean squared error of the predicted mean, in the targets' units, as are the next two.
        mae: mean absolute error of the predicted median.
        crps: continuous ranked probability score: the absolute error, generalised to laws.
        coverage: central intervals at each level.
        calibration_error: mean distance of the fraction of targets below the predicted quantiles from their levels.
        calibration_noise: what sampling noise alone reaches in 5 % of samples of n examples; see `calibration_noise`.
        pit: counts of the targets' probability integral transforms in 20 equal bins of [0, 1]; flat if calibrated.
        outputs: d.
        epistemic: root mean variance of the means over the posterior, in the targets' units.
        noise: standard deviation of a target around the network's output, as the likelihood says.
    """

    WHAT: ClassVar[str] = "a regression report"

    nll: Metric
    rmse: Metric
    mae: Metric
    crps: Metric
    coverage: tuple[Coverage, ...]
    calibration_error: float
    calibration_noise: float
    pit: tuple[int, ...]
    outputs: int
    epistemic: float | None = None
    noise: float | None = None

    @classmethod
    def from_mixture(
        cls,
        means: npt.ArrayLike,
        stds: npt.ArrayLike,
        targets: npt.ArrayLike,
        *,
        log_likelihood: npt.ArrayLike | None = None,
        levels: tuple[float, ...] = LEVELS,
        seed: int = 0,
        resamples: int = 1000,
        **facts: Any,
    ) -> RegressionReport:
        """Measure predictions that are equal mixtures of normals.

        Args:
            means: (S, n, d) of the components.
            stds: (S, n, d) or (1, n, d).
            targets: (n, d).
            log_likelihood: (n,) log joint density of an example's targets, where outputs are correlated within a
                component; left out, they are independent there.
            levels: of the central intervals.
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples.
            facts: the attributes from `epistemic` on; what is left out prints as unknown.

        Raises:
            DataError: see `regression_metrics.validate`; or `log_likelihood` is not (n,) finite numbers.
            ConfigError: `resamples` is below 1, or a level is not between 0 and 1.
        """
        m, s, y = metrics.validate(means, stds, targets)
        pits = metrics.pit(m, s, y)
        scores = {
            "nll": metrics.nll(m, s, y) if log_likelihood is None else -metrics.validate_scores(log_likelihood, len(y)),
            "rmse": ((m.mean(0) - y) ** 2).mean(-1),
            "mae": np.abs(metrics.quantile(0.5, m, s) - y).mean(-1),
            "crps": metrics.crps(m, s, y).mean(-1),
            **{str(level): metrics.coverage(pits, level).mean(-1) for level in levels},
        }
        found = mean_intervals(scores, resamples=resamples, seed=seed)
        squared = found["rmse"]
        # The root is monotone, so the interval's ends are the roots of the ends.
        found["rmse"] = Metric(squared.value**0.5, squared.low**0.5, squared.high**0.5)
        return cls(
            nll=found["nll"],
            rmse=found["rmse"],
            mae=found["mae"],
            crps=found["crps"],
            coverage=tuple(
                Coverage(level, found[str(level)], float(metrics.width(level, m, s).mean())) for level in levels
            ),
            calibration_error=metrics.calibration_error(metrics.calibration_curve(pits)),
            # Outputs of one example may err together: n examples are what is surely independent.
            calibration_noise=metrics.calibration_noise(len(y), resamples=resamples, seed=seed),
            pit=tuple(int(count) for count in metrics.pit_counts(pits)),
            n=len(y),
            outputs=y.shape[1],
            **facts,
        )

    @property
    def curve(self) -> tuple[float, ...]:
        """Fraction of targets below the predicted quantiles of levels 0, 1/20, ..., 1."""
        return (0.0, *(float(x) for x in np.cumsum(self.pit) / sum(self.pit)))

    @property
    def verdict(self) -> str:
        """In a few words: whether the laws are calibrated, and if not, what is most wrong with them.

        - "well calibrated, as far as n examples show": the calibration error is within `calibration_noise`.
        - "over-confident" or "under-confident": too many targets lie in the laws' tails, or too few.
        - "too high" or "too low": targets lie mostly on one side of the predictions.
        """
        if self.calibration_error <= self.calibration_noise + 1e-9:
            return f"well calibrated, as far as {self.n:,} {'example shows' if self.n == 1 else 'examples show'}"
        gaps = np.asarray(self.curve) - np.linspace(0, 1, len(self.curve))
        shift = float(gaps.mean())
        spread = float((gaps * np.sign(0.5 - np.linspace(0, 1, len(gaps)))).mean())
        if abs(shift) > abs(spread):
            below = self.curve[len(self.curve) // 2]
            return f"too {'high' if shift > 0 else 'low'}: {100 * below:.0f} % of the targets lie below the predicted median"
        widest = min(self.coverage, key=lambda c: abs(c.level - 0.9))
        held = f"intervals for {100 * widest.level:.0f} % hold {100 * widest.observed.value:.0f} % of the targets"
        return f"{'over' if spread > 0 else 'under'}-confident: {held}"

    @property
    def headline(self) -> str:
        """The verdict, with the numbers behind it."""
        return f"{self.verdict} (RMSE {self.rmse.value:.4g}, CRPS {self.crps.value:.4g}, NLL {self.nll.value:.3f} nats)"

    def __str__(self) -> str:
        return regression_table(self)

    def page(self) -> Page:
        """Return what a page about this report says."""
        from bayespeft.report.regression_page import page  # here: only pages need it

        return page(self)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the PIT histogram and the calibration curve, and return their figure.

        Args:
            path: where to save it: .png, .svg or .pdf.

        Raises:
            ConfigError: the suffix of `path` is none of these.
        """
        from bayespeft.report import plots, regression_plots  # here: matplotlib takes half a second

        figure = regression_plots.calibration(self)
        if path is not None:
            plots.save(figure, path)
        return figure
