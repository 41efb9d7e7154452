"""Bayesian adapters for PyTorch and Hugging Face models.

posterior = bayespeft.fit(model, data, guide="melora")
posterior.predict(test, draws=10)
posterior.report(test)
"""

from bayespeft.api import fit, load
from bayespeft.catalogue import methods
from bayespeft.config import Targets, TrainConfig
from bayespeft.exchange import import_lora
from bayespeft.inference.predict import Predictive
from bayespeft.methods.base import Method
from bayespeft.posterior import Posterior
from bayespeft.report.calibration import CalibrationReport
from bayespeft.version import __version__

__all__ = [
    "CalibrationReport",
    "Method",
    "Posterior",
    "Predictive",
    "Targets",
    "TrainConfig",
    "__version__",
    "fit",
    "import_lora",
    "load",
    "methods",
]
