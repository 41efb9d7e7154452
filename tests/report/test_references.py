"""Figures against those of other packages, which were computed once on the inputs below; their versions stand beside them.

The inputs are sequences without random numbers, so that no generator's change can move them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from bayespeft.report import metrics
from bayespeft.report import regression_metrics as laws
from bayespeft.report.conformal import Conformal
from bayespeft.report.metrics.conformal import class_scores, quantile
from tests.references.agreement import agree
from tests.report.predictions import Never, predictive

CALIBRATION, UNCERTAINTY, MAPIE = "uncertainty-calibration 0.1.4", "torch-uncertainty 0.13.0", "MAPIE 1.6.0"


def sequence(n: int, *roots: int) -> Any:
    """(n, roots) numbers that fill the unit cube evenly."""
    return (0.5 + np.outer(np.arange(1, n + 1), np.sqrt(roots))) % 1


@pytest.fixture(scope="module")
def data() -> Any:
    """600 over-confident predictions of 4 classes: accuracy 0.638, mean confidence 0.729, no ties."""
    u = sequence(600, 2, 3, 5, 7, 11)
    logits = 1.5 * norm.ppf(u[:, :4])
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probs.cumsum(axis=1) < u[:, 4:]).sum(axis=1)
    claimed = 1.6 * logits
    return claimed - np.log(np.exp(claimed).sum(axis=1, keepdims=True)), labels


# uncertainty-calibration 0.1.4: get_ece, get_ece_em, get_ece(mode="marginal"); netcal 1.4.0: ECE(15), MCE(15).
BINNED = {
    "ece": 0.09519387707709377,
    "ece_equal_mass": 0.10780212830496515,
    "ece_classwise": 0.06399223493386123,
    "mce": 0.3113946945150624,
}


@pytest.mark.parametrize("name", BINNED)
def test_binned_errors(name: str, data: Any) -> None:
    """Both packages close bins on the right, and ours on the left: no confidence is at an edge here."""
    against = "netcal 1.4.0" if name == "mce" else f"{CALIBRATION}, netcal 1.4.0" if name == "ece" else CALIBRATION
    agree(name.replace("_", " "), against, getattr(metrics, name)(*data), BINNED[name], atol=1e-12)


def test_debiased_errors(data: Any) -> None:
    """uncertainty-calibration 0.1.4: normal_debiased_ce and unbiased_l2_ce.

    The first draws from the folded normal law whose mean ours has: 0.0914982, with a standard error of 2.8e-5 over 20 x
    20,000 draws. It refuses bins of fewer than two examples, so that there are 5 bins; without the empty one.
    """
    agree("debiased ECE", f"{CALIBRATION}, 400,000 draws", metrics.ece_debiased(*data, 5), 0.0914982, atol=4 * 2.8e-5)
    agree("debiased RMS error", CALIBRATION, metrics.rms_debiased(*data, 5), 0.09242969372383976, atol=1e-12)


def test_smooth_error(data: Any) -> None:
    """relplot 1.0.3: smECE, of the authors of the smooth calibration error.

    It halves its bandwidth 10 times on a mesh of its own, and ours 12 times on 1024 cells: they agree to such a step.
    """
    agree("smooth ECE", "relplot 1.0.3", metrics.smooth_ece(*data), 0.09163590608356822, atol=2**-10)


def test_areas_under_risk(data: Any) -> None:
    """torch_uncertainty 0.13.0: AURC and AUGRC, in float32.

    Its AURC is the area by trapezoids from a coverage of 1 / n on, over 1 - 1 / n; ours, as in the paper, the mean over n
    coverages. They differ by half of the first and of the last risk. Its AUGRC leaves out the first trapezoid, from 0 to 1/n.
    Its AURC of the perfect order gives the excess.
    """
    n, first, last = 600, 0.0, 1 - metrics.accuracy(*data)
    aurc = (0.2046915879401316 * (n - 1) + (first + last) / 2) / n
    agree("AURC", UNCERTAINTY, metrics.aurc(*data), aurc, atol=1e-6)
    excess = (0.2046915879401316 - 0.07524743570896762) * (n - 1) / n
    agree("excess AURC", UNCERTAINTY, metrics.excess_aurc(*data), excess, atol=1e-6)
    agree("AUGRC", UNCERTAINTY, metrics.augrc(*data), 0.13255286574692624 * (n - 1) / n, atol=1e-6)


def test_points_of_the_risk_coverage_curve(data: Any) -> None:
    """torch_uncertainty 0.13.0: CovAtxRisk and RiskAtxCov, in float32."""
    for risk, coverage in ((0.05, 0.1133333370089531), (0.1, 0.25), (0.2, 0.3916666805744171)):
        agree("coverage at a risk", UNCERTAINTY, metrics.coverage_at_risk(*data, risk), coverage, atol=1e-6)
    for coverage, risk in ((0.5, 0.24), (0.8, 0.30416666666666664), (0.95, 0.3526315789473684)):
        agree("risk at a coverage", UNCERTAINTY, 1 - metrics.accuracy_at_coverage(*data, coverage), risk, atol=1e-6)


# MAPIE 1.6.0: SplitConformalClassifier fitted on the first 300: level -> threshold, classes in the sets of the others.
LAC = {0.8: (0.8306405805210186, 486), 0.9: (0.9295238527272772, 642), 0.95: (0.9630317170025793, 751)}
APS = {0.8: 0.8882704073829019, 0.9: 0.9515983743153715, 0.95: 0.9753449133505969}


@pytest.mark.parametrize("level", LAC)
def test_conformal_sets(level: float, data: Any) -> None:
    """Those of "lac" were the same sets, class by class."""
    logs, labels = data
    found = Conformal.fit(predictive(logs[:300], labels[:300]), Never(), alpha=1 - level, method="lac")
    threshold, size = LAC[level]
    agree("conformal threshold, LAC", MAPIE, found.threshold, threshold, atol=1e-12)
    agree("classes in conformal sets, LAC", MAPIE, found.sets(predictive(logs[300:])).sum(), size, atol=0)


@pytest.mark.parametrize("level", APS)
def test_adaptive_scores(level: float, data: Any) -> None:
    """The threshold of "aps" with the uniforms that MAPIE drew for its scores (random_state=0).

    It subtracts a share of the label's probability where ours adds the rest. Its sets have no uniforms: they take in the
    class at which the mass crosses the threshold, and so are larger.
    """
    probs, labels = np.exp(data[0][:300]), data[1][:300]
    uniforms = 1 - np.random.RandomState(0).uniform(size=300)
    scores = class_scores(probs, "aps", uniforms)[np.arange(300), labels]
    agree("conformal threshold, APS", MAPIE, quantile(scores, 1 - level), APS[level], atol=1e-12)


def test_scores_of_laws() -> None:
    """properscoring 0.1: crps_gaussian; scoringrules 0.10.0: crps_normal, crps_mixnorm, logs_normal, logs_mixnorm."""
    u = sequence(100, 2, 3, 5, 7, 11, 13, 17)
    means, stds, targets = norm.ppf(u[:, :3]).T, 0.3 + u[:, 3:6].T, 1.5 * norm.ppf(u[:, 6])
    scoring, both = "scoringrules 0.10.0", "properscoring 0.1, scoringrules 0.10.0"
    agree("CRPS of a normal", both, laws.crps(means[:1], stds[:1], targets).mean(), 1.1689922023936885, atol=1e-12)
    agree("CRPS of a mixture", scoring, laws.crps(means, stds, targets).mean(), 0.8804951518167806, atol=1e-12)
    wide = (means[..., None], stds[..., None], targets[:, None])
    agree(
        "NLL of a normal", scoring, laws.nll(*(x[:1] for x in wide[:2]), wide[2]).mean(), 5.50825807038197, atol=1e-12
    )
    agree("NLL of a mixture", scoring, laws.nll(*wide).mean(), 2.2479099492525654, atol=1e-12)
