"""Classes of other libraries that train, or answer with, a posterior; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayespeft.integrations.classifier import BayesClassifier as BayesClassifier
    from bayespeft.integrations.harness import BayesLM as BayesLM
    from bayespeft.integrations.pipeline import BayesTextClassification as BayesTextClassification
    from bayespeft.integrations.sft import BayesSFTTrainer as BayesSFTTrainer
    from bayespeft.integrations.trainer import BayesTrainer as BayesTrainer
    from bayespeft.integrations.training import BayesTraining as BayesTraining

_PLACES = {
    "BayesClassifier": "classifier",
    "BayesLM": "harness",
    "BayesSFTTrainer": "sft",
    "BayesTextClassification": "pipeline",
    "BayesTrainer": "trainer",
    "BayesTraining": "training",
}

__all__ = ["BayesClassifier", "BayesLM", "BayesSFTTrainer", "BayesTextClassification", "BayesTrainer", "BayesTraining"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'; it has {', '.join(_PLACES)}.")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
