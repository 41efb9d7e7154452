"""`RegressionReport`: how good, and how honest, predicted laws of quantities are. Numbers only.

Metrics are means over the d outputs of an example, which share the targets' units, and then over examples; the NLL is that
of an example's outputs together. Intervals cover the population's figure: those of coverage are Clopper and Pearson's, the
others resample examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.report import regression_metrics as metrics
from bayespeft.report.base import DrawnReport
from bayespeft.report.bootstrap import mean_intervals, skill_score
from bayespeft.report.metric import Metric, counted, measured
from bayespeft.report.proportions import proportion
from bayespeft.report.verdict import LEAST_POWER, POINTS, Kind, Verdict, too_few, worthless
from bayespeft.utils.annotations import Resamples, Seed
from bayespeft.utils.checks import checked_methods

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


@checked_methods
@dataclass(frozen=True, slots=True)
class RegressionReport(DrawnReport):
    """Metrics of predicted laws with 95 % intervals, and what the prediction cost.

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
        skill: share of the targets' variance that the predicted mean explains, averaged over outputs: 0 is no better than
            always answering with their mean. None where no target varies.
        power: the share of samples of this size in which too narrow laws, whose 90 % intervals hold 85 %, would exceed
            `calibration_noise`.
        epistemic: root mean variance of the means over the posterior, in the targets' units; None where it isn't known.
        noise: standard deviation of a target around the network's output, as the likelihood says; None where it isn't known.
    """

    WHAT: ClassVar[str] = "a regression report"
    VIEW: ClassVar[str] = "regression"

    nll: Metric
    rmse: Metric
    mae: Metric
    crps: Metric
    coverage: tuple[Coverage, ...]
    calibration_error: float
    calibration_noise: float
    pit: tuple[int, ...]
    outputs: int
    skill: Metric | None
    power: float
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
        seed: Seed = 0,
        resamples: Resamples = 1000,
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
            facts: `epistemic`, `noise`, and the attributes of `Report` from `draws` on; what is left out prints as unknown.

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
        }
        found = mean_intervals(scores, resamples=resamples, seed=seed, ranges={"nll": (-np.inf, np.inf)})
        noise = metrics.calibration_noise(len(y), resamples=resamples, seed=seed)
        return cls(
            nll=found["nll"],
            rmse=found["rmse"].through(lambda square: square**0.5),
            mae=found["mae"],
            crps=found["crps"],
            coverage=tuple(
                Coverage(
                    level,
                    # Outputs of one example may err together: n examples are what is surely independent.
                    proportion(float(metrics.coverage(pits, level).mean()), len(y)),
                    float(metrics.width(level, m, s).mean()),
                )
                for level in levels
            ),
            calibration_error=metrics.calibration_error(metrics.calibration_curve(pits)),
            calibration_noise=noise,
            power=metrics.calibration_power(len(y), noise, POINTS, resamples=resamples, seed=seed),
            skill=skill_score((m.mean(0) - y) ** 2, (y - y.mean(0)) ** 2, resamples=resamples, seed=seed),
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
    def verdict(self) -> Verdict:
        """What the figures say; see `verdict.Verdict` for its kinds and the test.

        "over" or "under": too many targets lie in the laws' tails, or too few. "high" or "low": targets lie mostly on one side
        of the predictions. Its points are those that the 90 % intervals, or the nearest there are, hold too few or too many.
        """
        widest = min(self.coverage, key=lambda c: abs(c.level - 0.9))
        held = f"intervals for {100 * widest.level:.0f} % hold {100 * widest.observed.value:.0f} % of the targets"
        if self.calibration_error <= self.calibration_noise + 1e-9:
            if self.power < LEAST_POWER and not worthless(self.skill, self.n):
                return too_few(self.n, self.calibration_noise, self.power, "90 % intervals that hold only 85 %")
            if self.skill is None or self.skill.low <= 0:
                reason = (
                    "Its predictions are not shown to be better than always answering with the mean of the targets."
                )
                return Verdict("no_skill", "no better than the targets' mean", reason)
            text = f"well calibrated, as far as {counted(self.n, 'row')} show{'s' * (self.n == 1)}"
            return Verdict("calibrated", text, f"What it claims is what it keeps: {held}.")
        gaps = np.asarray(self.curve) - np.linspace(0, 1, len(self.curve))
        shift = float(gaps.mean())
        spread = float((gaps * np.sign(0.5 - np.linspace(0, 1, len(gaps)))).mean())
        if abs(shift) > abs(spread):
            return _aside(np.asarray(self.curve), shift)
        kind: Kind = "over" if spread > 0 else "under"
        reason = f"Its laws are too {'narrow' if spread > 0 else 'wide'}: {held}."
        return Verdict(kind, f"{kind}-confident: {held}", reason, abs(widest.observed.value - widest.level))

    @property
    def headline(self) -> str:
        """The verdict, with the numbers behind it."""
        return (
            f"{self.verdict} (RMSE {measured(self.rmse.value)}, CRPS {measured(self.crps.value)}, "
            f"NLL {self.nll.value:.3f} nats)"
        )


def _aside(curve: npt.NDArray[np.float64], shift: float) -> Verdict:
    """Return the verdict of laws that lie to one side of the targets, told at the level where that shows most."""
    levels = np.linspace(0, 1, len(curve))
    at = int(np.argmax((curve - levels) * np.sign(shift)))
    side: Kind = "high" if shift > 0 else "low"
    wanted, found = f"{100 * levels[at]:.0f} %", f"{100 * curve[at]:.0f} %"
    quantile = "median" if levels[at] == 0.5 else f"{wanted} quantile"
    reason = f"{wanted} of the targets should lie below the predicted {quantile}, and {found} do."
    return Verdict(side, f"too {side}: {found} of the targets lie below the predicted {quantile}", reason, abs(shift))
