"""What a posterior tells a report about itself: how training went, settings and versions."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from torch import nn

from bayespeft.likelihoods.base import Likelihood
from bayespeft.methods.base import Method
from bayespeft.networks.configuration import name_of
from bayespeft.report.context import Setup, Training
from bayespeft.training.history import History
from bayespeft.version import __version__

POINTS = 200
"""Most points of a training curve."""

PACKAGES = ("torch", "pyro-ppl", "transformers", "numpy", "scipy")


def training(history: History, remedies: Mapping[str, str] | None = None, objective: str = "") -> Training | None:
    """Return the curves of a history, at `POINTS` of its records at most; None where there is no record.

    Args:
        history: how training went.
        remedies: kind of verdict -> what to do about it.
        objective: what its data term is, where it is not the log-likelihood of all rows.
    """
    if not history.records:
        return None
    chosen = np.unique(np.linspace(0, len(history.records) - 1, POINTS).round().astype(int))
    records = [history.records[i] for i in chosen]
    curves: dict[str, tuple[float | None, ...]] = {
        "objective": tuple(record.loss for record in records),
        "nll": tuple(record.nll for record in records),
        "kl": tuple(record.kl for record in records),
    }
    validated = [(record.validation or {}).get("nll") for record in records]
    if any(value is not None for value in validated):
        curves["validation nll"] = tuple(validated)
    return Training(
        tuple(record.step for record in records),
        curves,
        history.seconds,
        history.peak_memory_bytes,
        "; ".join(filter(None, ("" if history.ended is None else str(history.ended), objective))),
        dict(remedies or {}),
        records[-1].kl_error,
    )


def setup(
    model: nn.Module, method: Method, likelihood: Likelihood, layers: Iterable[str], **settings: Mapping[str, Any]
) -> Setup:
    """Return settings and versions.

    Args:
        model: the network; only its name is told.
        method: with all its settings as they were used.
        likelihood: what the network's output means.
        layers: names of the adapted layers, which are told by pattern.
        settings: further groups of plain values.
    """
    name = name_of(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    configuration = {
        "method": method.model_dump(mode="json"),
        "likelihood": {"kind": likelihood.kind, **likelihood.model_dump(mode="json")},
        "network": {"class": type(model).__name__, "name": name, "parameters": parameters},
        "adapted layers": dict(Counter(re.sub(r"\d+", "*", layer) for layer in layers)),
        **{group: dict(values) for group, values in settings.items()},
    }
    versions = {"bayespeft": __version__, "python": platform.python_version()}
    return Setup(configuration, versions | {name: version(name) for name in PACKAGES})
