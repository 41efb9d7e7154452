"""`BayesTrainer`: transformers' `Trainer`, whose result is a posterior.

trainer = BayesTrainer(model, TrainingArguments("out"), train_dataset=tokenised, guide="melora")
trainer.train()
posterior = trainer.posterior()
"""

from __future__ import annotations

from bayespeft.errors import MissingPackageError
from bayespeft.integrations.training import BayesTraining

try:
    import accelerate  # noqa: F401  (transformers' Trainer can't be made without it, and says so late)
    from transformers import Trainer
except ImportError as error:
    raise MissingPackageError(
        f"transformers' Trainer needs the package 'accelerate' ({error}): pip install 'bayespeft[trainer]'"
    ) from None


class BayesTrainer(BayesTraining, Trainer):  # type: ignore[misc]
    """A `Trainer` that fits a posterior over adapters: see `BayesTraining`."""
