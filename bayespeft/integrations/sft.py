"""`BayesSFTTrainer`: TRL's `SFTTrainer`, whose result is a posterior over a language model.

trainer = BayesSFTTrainer(model, SFTConfig("out"), train_dataset=conversations, processing_class=tokenizer)
trainer.train()
posterior = trainer.posterior()
"""

from __future__ import annotations

from typing import ClassVar

from bayespeft.errors import MissingPackageError
from bayespeft.integrations.training import BayesTraining

try:
    from trl import SFTTrainer
except ImportError as error:
    raise MissingPackageError(f"this trainer is TRL's ({error}): pip install 'bayespeft[sft]'") from None


class BayesSFTTrainer(BayesTraining, SFTTrainer):  # type: ignore[misc]
    """An `SFTTrainer` that fits a posterior over adapters: see `BayesTraining`.

    TRL reads, templates and masks the data; the loss is the likelihood "language_modelling", of whole examples. An example of a
    stacked data set is a stack, and N counts stacks.
    """

    default_likelihood: ClassVar[str | None] = "language_modelling"
