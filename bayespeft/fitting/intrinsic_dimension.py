"""d90: the smallest intrinsic dimension whose validation accuracy reaches 90 % of a reference.

Li et al. 2018, arXiv 1804.08838; Aghajanyan et al. 2020, arXiv 2012.13255, section 3: d counts as enough where a network
trained in a random subspace of d dimensions reaches 90 % of full fine-tuning's metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bayespeft import registry
from bayespeft.adapters.intrinsic import Intrinsic
from bayespeft.data.columns import missing_labels
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, DataError
from bayespeft.fitting.fit import fit
from bayespeft.methods.base import Method
from bayespeft.utils.annotations import Network
from bayespeft.utils.checks import checked


@dataclass(frozen=True)
class IntrinsicDimension:
    """What a search found.

    Attributes:
        dimension: the smallest d tried that reached the target and has no larger one below it that failed; None where the
            search ended before any d did.
        below: the largest d tried that failed, below `dimension`; None where even the smallest was enough.
        target: what was to be reached, share times the reference.
        tried: (d, metric) in the order of the fits.
    """

    dimension: int | None
    below: int | None
    target: float
    tried: tuple[tuple[int, float], ...]


@checked
def search(
    metric: Callable[[int], float], target: float, *, smallest: int = 8, largest: int = 2**16, fits: int = 12
) -> IntrinsicDimension:
    """Find the smallest d with metric(d) >= target: doubled until it is reached, then bisected.

    Exact, given enough fits, where the metric never falls as d grows. A metric with noise is compared as it comes: the
    result is then off by about as far as d must change to outweigh the noise. For better, average the metric over seeds.

    Args:
        metric: of a fit with d dimensions; called once for each d.
        target: to reach.
        smallest: the first d.
        largest: no larger d is tried.
        fits: the most calls of `metric`.

    Raises:
        ConfigError: not 1 <= smallest <= largest, or fits < 1, or the target is not finite.
        DataError: the metric is not a number.
    """
    if not 1 <= smallest <= largest or fits < 1 or not math.isfinite(target):
        raise ConfigError(
            f"smallest={smallest}, largest={largest}, fits={fits}, target={target}: needs 1 <= smallest <= largest, fits of "
            "1 or more, and a finite target."
        )
    tried: list[tuple[int, float]] = []
    below, enough, d = None, None, smallest
    while len(tried) < fits:
        value = metric(d)
        if math.isnan(value):
            raise DataError(
                f"the metric at d={d} is not a number, which no target can be compared with: check the data."
            )
        tried.append((d, value))
        if value >= target:
            enough = d
        else:
            below = d
        if enough is None:
            if d == largest:
                break
            d = min(2 * d, largest)
        elif below is None or enough - below == 1:
            break
        else:
            d = (below + enough) // 2
    return IntrinsicDimension(enough, below, target, tuple(tried))


@checked
def intrinsic_dimension(
    model: Network,
    data: Any,
    validation: Any,
    *,
    reference: float | None = None,
    share: float = 0.9,
    method: str | Method = "intrinsic",
    smallest: int = 8,
    largest: int = 2**16,
    fits: int = 12,
    **options: Any,
) -> IntrinsicDimension:
    """Fit a network in random subspaces and find the smallest dimension whose accuracy is a share of the reference's.

    A freshly made head is trained whole in every fit, so that d is what the body needs beside it. Accuracy on few rows is
    noisy, and so is the result: see `search`.

    Args:
        model: as for `bayespeft.fit`; it is as before afterwards.
        data: to train on.
        validation: labelled data to take the accuracy on, of the posterior's mean.
        reference: an accuracy between 0 and 1; None: that of full fine-tuning (method "full") with the same options, which
            is one more fit.
        share: of the reference that is to be reached, in (0, 1].
        method: with the adapter "intrinsic", whose d is varied.
        smallest, largest, fits: as for `search`; `fits` does not count the reference.
        options: further arguments of `bayespeft.fit`: tokenizer, targets, seed, ... `train` is for the fits of d: full
            fine-tuning, which needs lower rates, has its method's own.

    Raises:
        ConfigError: a setting can't be used, or the method has another adapter. DataError: the validation data has no
            labels. And what `bayespeft.fit` raises.
    """
    chosen: Method = method if isinstance(method, Method) else registry.get("methods", method)
    adapter = chosen.adapter
    if not isinstance(adapter, Intrinsic):
        raise ConfigError(f"method '{chosen.name}' has the adapter '{adapter.kind}', which has no d: take 'intrinsic'.")
    if not 0 < share <= 1 or (reference is not None and not 0 <= reference <= 1):
        raise ConfigError(f"share={share}, reference={reference}: an accuracy in [0, 1], and a share of it in (0, 1].")
    if "adapter" in options or "start" in options or "guide" in options:
        raise ConfigError("adapter=, start= and guide= are the search's own: set them in method=.")

    training, held = source_of(data, "train"), source_of(validation, "validation")

    def measured(candidate: Method, **further: Any) -> float:
        posterior = fit(model, training, candidate, **further)
        predictive = posterior.predict(held, draws=0)
        if predictive.labels is None:
            raise missing_labels("validation data")
        figures = predictive.validation_metrics()
        if "accuracy" not in figures:
            raise ConfigError(
                f"a share of the accuracy is sought, and likelihood '{posterior.likelihood.kind}' has none: take likelihood= "
                "of classes."
            )
        return float(figures["accuracy"])

    if reference is None:
        own = {name: value for name, value in options.items() if name != "train"}
        reference = measured(registry.get("methods", "full"), **own)

    def of(d: int) -> float:
        return measured(chosen.replace(adapter=adapter.replace(d=d)), **options)

    return search(of, share * reference, smallest=smallest, largest=largest, fits=fits)
