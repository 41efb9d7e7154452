"""Split conformal prediction: sets of classes that hold the label with a stated probability, whatever the model.

A score says how little a class suits an example; the set of an example holds all classes whose score is at most the
ceil((n + 1)(1 - alpha))-th smallest score of the labels of n validation examples. If validation examples and the new one are
exchangeable, and the model saw neither in training,

    1 - alpha  <=  P(label in set)  <=  1 - alpha + 1 / (n + 1),

the upper bound if scores never tie (Vovk et al. 2005; Lei et al. 2018, JASA 113(523)). The guarantee is
marginal: over validation sets and new examples together, not for each kind of example. A quantile of each class's own
validation examples gives it for each class (Mondrian: Vovk et al. 2005, section 4.5; Vovk 2012, ACML).

- lac: 1 - p(class): the smallest sets on average (Sadinle et al. 2019, JASA 114(525)); they may be empty.
- aps: the mass of all more probable classes plus a uniform share of its own (Romano et al. 2020, arXiv 2006.02544, without
  regularisation): sets that adapt to how hard an example is.
- raps: that and a penalty of `PENALTY` for each class beyond the `FREE` most probable ones (Angelopoulos et al. 2020, arXiv
  2009.14193, eq. 4): the long tails of unlikely classes are cut off. With no more than `FREE` classes it is aps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from bayespeft.errors import ConfigError, DataError
from bayespeft.report.binning import Floats
from bayespeft.report.fractions import check_fraction

METHODS = ("lac", "aps", "raps")
FREE, PENALTY = 5, 0.01
"""Settings of "raps": the k_reg and lambda of the paper's experiments with fixed ones."""

IMPOSSIBLE = -1e4
"""An example can't have a class whose log-probability is no larger, such as a choice that its question does not offer."""


def class_scores(probs: Floats, method: str, uniforms: Floats) -> Floats:
    """Return the score of each class, (n, K) from 0 up.

    Args:
        probs: (n, K), rows sum to 1.
        method: one of `METHODS`.
        uniforms: (n,) in [0, 1); "lac" does not use them.

    Raises:
        ConfigError: there is no such method.
    """
    check_method(method)
    if method == "lac":
        return 1 - probs
    order = np.argsort(-probs, axis=1, kind="stable")
    falling = np.take_along_axis(probs, order, axis=1)
    ranked = np.cumsum(falling, axis=1) - falling + uniforms[:, None] * falling
    if method == "raps":
        ranked += PENALTY * np.maximum(np.arange(1, probs.shape[1] + 1) - FREE, 0)
    scores = np.empty_like(probs)
    np.put_along_axis(scores, order, ranked, axis=1)
    return scores


def group_quantiles(groups: Iterable[Floats], alpha: float) -> Floats:
    """Return the `quantile` of each group's scores, (groups,); infinity for a group without any. Errors as `quantile`."""
    check_alpha(alpha)
    return np.array([quantile(scores, alpha) if len(scores) else math.inf for scores in groups])


def check_method(method: str) -> None:
    """Check that there is such a score; `ConfigError` otherwise."""
    if not isinstance(method, str) or method not in METHODS:
        raise ConfigError(f"method={method!r} is none of {', '.join(METHODS)}.")


def check_alpha(alpha: float) -> None:
    """Check that alpha is a number in (0, 1); `ConfigError` otherwise."""
    check_fraction("alpha", alpha, "the probability that a set misses the label", 0.1)


def quantile(scores: npt.ArrayLike, alpha: float) -> float:
    """Return the ceil((n + 1)(1 - alpha))-th smallest of n scores; infinity if n is too small for that.

    Raises:
        ConfigError: alpha is not between 0 and 1. DataError: there is no score, or one is NaN.
    """
    check_alpha(alpha)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values) or np.isnan(values).any():
        raise DataError("conformal sets need the scores of at least one validation example, none of them NaN.")
    # 10 * (1 - 0.1) is 9 in exact arithmetic, and must not become 10.
    rank = math.ceil((len(values) + 1) * (1 - alpha) - 1e-9)
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= len(values) else math.inf
