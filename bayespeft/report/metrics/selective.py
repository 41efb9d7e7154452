"""Selective prediction: answer where confidence is high, refuse elsewhere. How fast do errors go, and how well does
confidence rank them?

With the k most confident of n examples kept, the **coverage** is k / n and the **risk** their error rate. Examples of equal
confidence stand in random order, and every figure is its exact mean over that order, so that the order of the data never
matters. Where a threshold is asked for, it can't part them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from bayespeft.errors import ConfigError
from bayespeft.report.binning import Floats, kept_at
from bayespeft.report.metrics.detection import ranked
from bayespeft.report.metrics.examples import Scores, example_scores
from bayespeft.report.metrics.intervals import Exact, Percentile, Ranked, StudentisedOfErrors
from bayespeft.report.metrics.spec import MetricSpec
from bayespeft.report.metrics.tally import Tally, part
from bayespeft.report.proportions import proportion

COVERAGES = (0.5, 0.8, 0.9, 0.95)
RISKS = (0.01, 0.05, 0.1)
CURVE = tuple(i / 50 for i in range(1, 51))
"""Coverages of the report's figures, risks of the report's, and coverages of its curve."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The risk-coverage curve at coverages of 2, 4, ..., 100 %, with pointwise intervals of the risk."""

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def curve(scores: Scores) -> Curve:
    """Return the curve with exact 95 % intervals, of the risk as a proportion among the examples that are kept."""
    found = [
        proportion(float(accuracy), kept_at(at, len(scores)))
        for at, accuracy in zip(CURVE, _accuracies(Tally.whole(scores), CURVE)[0], strict=True)
    ]
    return Curve(CURVE, *(tuple(1 - getattr(kept, end) for kept in found) for end in ("value", "high", "low")))


def risk_coverage(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the risk-coverage curve: coverages k / n for k = 1..n, and the risk at each, (n,) both.

    El-Yaniv & Wiener 2010, JMLR 11.

    Raises:
        DataError: see `validate`.
    """
    tally = _tally(log_probs, labels)
    kept = np.arange(1, tally.n + 1)
    return kept / tally.n, _errors(tally, kept)[0] / kept


def aurc(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the risk-coverage curve, its mean over k = 1..n; in [0, 1], 0 without an error.

    Geifman, Uziel & El-Yaniv 2019 (arXiv 1805.08206).

    Raises:
        DataError: see `validate`.
    """
    return _one("aurc", log_probs, labels)


def excess_aurc(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return `aurc` less the least that this many errors allow, that of refusing all errors first; in [0, 1].

    The E-AURC of Geifman, Uziel & El-Yaniv 2019, with the exact least area, (e - (n - e) (H_n - H_(n-e))) / n for e errors.

    Raises:
        DataError: see `validate`.
    """
    return _one("excess_aurc", log_probs, labels)


def augrc(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the generalised risk, the share of all examples that is kept and wrong; in [0, 1/2].

    Traub et al. 2024 (arXiv 2407.01032), by trapezoids: (1 - AUROC) a (1 - a) + (1 - a)^2 / 2 for accuracy a.

    Raises:
        DataError: see `validate`.
    """
    return _one("augrc", log_probs, labels)


def error_auroc(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the AUROC of errors: P(a wrong answer is less confident than a right one), ties count half.

    NaN if all are right, or all wrong.

    Raises:
        DataError: see `validate`.
    """
    return _one("error_auroc", log_probs, labels)


def error_average_precision(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the average precision of errors ranked from the least confident; see `detection.average_precision`.

    A random ranking has the error rate. NaN if all are right.

    Raises:
        DataError: see `validate`.
    """
    return _one("error_average_precision", log_probs, labels)


def accuracy_at_coverage(log_probs: npt.ArrayLike, labels: npt.ArrayLike, coverage: float) -> float:
    """Return the accuracy of the ceil(coverage n) most confident examples.

    Raises:
        DataError: see `validate`.
        ConfigError: the coverage is not in (0, 1].
    """
    if not 0 < coverage <= 1:
        raise ConfigError(f"coverage is {coverage}: the share of examples to keep is above 0 and at most 1.")
    return float(_accuracy_at(_tally(log_probs, labels), coverage=coverage)[0])


def coverage_at_risk(log_probs: npt.ArrayLike, labels: npt.ArrayLike, risk: float) -> float:
    """Return the largest coverage that a threshold on confidence reaches with a risk of at most `risk`; 0 if none does.

    It is chosen and measured on the same examples, so on others the risk will be higher: `posterior.decide` controls it.

    Raises:
        DataError: see `validate`.
        ConfigError: the risk is not in [0, 1].
    """
    if not 0 <= risk <= 1:
        raise ConfigError(f"risk is {risk}: an error rate is between 0 and 1.")
    return float(_coverage(_tally(log_probs, labels), risk=risk)[0])


def selective_figures(tally: Tally) -> dict[str, Floats]:
    """Return the areas, and how well confidence ranks errors, in each resample: (R,) each."""
    n, harmonic = tally.n, tally.ordered.harmonic
    kept, wrong = tally.kept, tally.wrong
    sizes, errors = -np.diff(kept, axis=1), -np.diff(wrong, axis=1)
    rate = np.divide(errors, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    steps = -np.diff(harmonic[kept.astype(np.intp)], axis=1)
    area = ((wrong[:, 1:] - kept[:, 1:] * rate) * steps + errors).sum(axis=1) / n
    total = wrong[:, 0]
    right = n - total
    least = (total - right * (harmonic[n] - harmonic[right.astype(np.intp)])) / n
    auroc, precision, _ = ranked(total[:, None] - wrong, (n - kept) - (total[:, None] - wrong))
    return {
        "aurc": area,
        "excess_aurc": np.maximum(area - least, 0),
        "augrc": ((wrong[:, 1:] + wrong[:, :-1]) / 2 * sizes).sum(axis=1) / n**2,
        "error_auroc": auroc,
        "error_average_precision": precision,
    }


def selective_errors(tally: Tally) -> dict[str, Floats]:
    """Return standard errors of the areas in each resample, by what one example more of a group would change: (R,) each.

    With G the share at least as confident as an example, F = 1 - G, and W the share that is wrong and at least as confident,
    AUGRC is the mean of wrong F, and AURC that of wrong ln (1 / G), up to 1 / n. Half of a group counts as more confident.
    """
    n, kept, wrong = tally.n, tally.kept, tally.wrong
    sizes, errors = -np.diff(kept, axis=1), -np.diff(wrong, axis=1)
    above = (kept[:, 1:] + kept[:, :-1]) / (2 * n)
    wrong_above = (wrong[:, 1:] + wrong[:, :-1]) / (2 * n)
    share = errors / np.maximum(n * above, 0.5)
    passed = np.cumsum(share, axis=1) - share / 2
    found = {}
    for name, if_wrong, always in (
        ("augrc", 1 - above, wrong_above),
        ("aurc", -np.log(np.maximum(above, 0.5 / n)), -passed),
    ):
        # Every example contributes `always`, and one that is wrong `if_wrong` more.
        mean = (_dot(sizes, always) + _dot(errors, if_wrong)) / n
        square = (_dot(sizes * always, always) + _dot(errors * if_wrong, if_wrong + 2 * always)) / n
        found[name] = np.sqrt(np.maximum(square - mean**2, 0) / n)
    return found


def _dot(left: Floats, right: Floats) -> Floats:
    found: Floats = np.einsum("rg,rg->r", left, right)
    return found


def _area(name: str, most: float) -> StudentisedOfErrors:
    return StudentisedOfErrors(part(selective_errors, name), most=most)


def _tally(log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> Tally:
    return Tally.whole(example_scores(log_probs, labels))


def _one(name: str, log_probs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    return float(selective_figures(_tally(log_probs, labels))[name][0])


def _errors(tally: Tally, kept: npt.NDArray[np.int64]) -> Floats:
    """Errors among the most confident `kept` (P,), in the mean over the order of ties: (R, P)."""
    right = tally.shared(tally.hits, np.append(tally.n - kept, tally.n))
    errors: Floats = np.clip(kept - (right[:, -1:] - right[:, :-1]), 0, kept)
    return errors


def _accuracies(tally: Tally, coverages: tuple[float, ...]) -> Floats:
    kept = np.array([kept_at(coverage, tally.n) for coverage in coverages], dtype=np.int64)
    return 1 - _errors(tally, kept) / kept


def _accuracy_at(tally: Tally, *, coverage: float) -> Floats:
    return _accuracies(tally, (coverage,))[:, 0]


def _gain(tally: Tally) -> Floats:
    return _accuracy_at(tally, coverage=0.8) - tally.mean(tally.ordered.correct)


def _coverage(tally: Tally, *, risk: float) -> Floats:
    allowed = tally.wrong <= risk * tally.kept + 1e-9
    # From the least confident up, the first edge that may stand has the most examples; the last one keeps none.
    found: Floats = np.take_along_axis(tally.kept, allowed.argmax(axis=1)[:, None], axis=1)[:, 0] / tally.n
    return found


METRICS = (
    *(
        MetricSpec(
            name=name, title=title, function=part(selective_figures, name), interval=interval, higher_is_better=better,
            remark=remark, printed="by confidence; 0.5 is no skill" if name == "error_auroc" else None,
            tile="0.5 is no skill" if name == "error_auroc" else None, compared=name == "error_auroc",
        )
        for name, title, interval, better, remark in (
            ("aurc", "AURC", _area("aurc", 1.0), False, "area under the risk-coverage curve"),
            ("excess_aurc", "excess AURC", None, False, "less the least that so many errors allow"),
            ("augrc", "AUGRC", _area("augrc", 0.5), False, "area under the generalised risk"),
            ("error_auroc", "AUROC of errors", Ranked(), True, "an error is less confident than a right answer"),
            ("error_average_precision", "average precision of errors", None, True, ""),
        )
    ),
    MetricSpec(
        name="refusal_gain", title="accuracy gained by refusing 20 %", function=_gain, unit="%",
        interval=Percentile(-1.0, 1.0), higher_is_better=True, remark="the least certain",
    ),
    *(
        MetricSpec(
            name=f"accuracy_at_coverage.{at:g}", title=f"accuracy at {100 * at:g} % coverage", unit="%",
            function=partial(_accuracy_at, coverage=at), interval=Exact(at), higher_is_better=True,
            short=f"Accuracy, top {100 * at:g} %", printed="of the most confident" if at == 0.8 else None,
        )
        for at in COVERAGES
    ),
    *(
        MetricSpec(
            name=f"coverage_at_risk.{at:g}", title=f"coverage at {100 * at:g} % risk", unit="%",
            function=partial(_coverage, risk=at), higher_is_better=True, remark="optimistic: chosen on these rows",
        )
        for at in RISKS
    ),
)  # fmt: skip
