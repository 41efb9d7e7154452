"""What the network's output means: one likelihood, one file."""

from typing import TYPE_CHECKING

from bayespeft import registry

if TYPE_CHECKING:
    from bayespeft.likelihoods.base import Likelihood as Likelihood
    from bayespeft.likelihoods.label_tokens import LabelTokens as LabelTokens
    from bayespeft.likelihoods.language_modelling import LanguageModelling as LanguageModelling
    from bayespeft.likelihoods.multi_label import MultiLabel as MultiLabel
    from bayespeft.likelihoods.regression import Regression as Regression
    from bayespeft.likelihoods.sequence_classification import SequenceClassification as SequenceClassification
    from bayespeft.likelihoods.token_classification import TokenClassification as TokenClassification
else:
    __getattr__, __dir__ = registry.exports("likelihoods", {"Likelihood": "bayespeft.likelihoods.base"})
