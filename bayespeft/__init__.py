"""Bayesian adapters for PyTorch and Hugging Face models.

posterior = bayespeft.fit(model, data, guide="melora")
posterior.predict(test, draws=10)
posterior.report(test)
"""

from bayespeft.analysis.decompose import Decomposition, decompose
from bayespeft.catalogue import methods
from bayespeft.config import Targets, TrainConfig
from bayespeft.fitting.adapt import adapt
from bayespeft.fitting.adaptation import Adaptation
from bayespeft.fitting.fit import fit
from bayespeft.fitting.from_pretrained import from_pretrained
from bayespeft.fitting.import_lora import import_lora
from bayespeft.fitting.intrinsic_dimension import IntrinsicDimension, intrinsic_dimension
from bayespeft.fitting.load import load
from bayespeft.generation.result import Generation
from bayespeft.generation.score import Score
from bayespeft.methods.base import Method
from bayespeft.posterior.posterior import Posterior
from bayespeft.predictive.categorical import Predictive
from bayespeft.predictive.evaluation import Evaluation, evaluate
from bayespeft.predictive.normal import RegressionPredictive
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.regression import RegressionReport
from bayespeft.version import __version__

__all__ = [
    "Adaptation",
    "CalibrationReport",
    "Decomposition",
    "Evaluation",
    "Generation",
    "IntrinsicDimension",
    "Method",
    "Posterior",
    "Predictive",
    "RegressionPredictive",
    "RegressionReport",
    "Score",
    "Targets",
    "TrainConfig",
    "__version__",
    "adapt",
    "decompose",
    "evaluate",
    "fit",
    "from_pretrained",
    "import_lora",
    "intrinsic_dimension",
    "load",
    "methods",
]
