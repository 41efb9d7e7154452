"""Sequence classification: the network's own output is one logit per class.

For `AutoModelForSequenceClassification` networks and for plain modules that map a tensor to logits (n, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Row
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.text import TextLikelihood


class SequenceClassification(TextLikelihood, Categorical):
    """Categorical over the network's K logits.

    Attributes:
        label_names: names of the classes, for rows whose labels are strings; filled from the network's `label2id`.
    """

    outputs: ClassVar[str] = "logits of shape (examples, classes)"
    label_names: tuple[str, ...] = ()

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> SequenceClassification:
        """Take the class names and the length limit from the network; errors as the base."""
        config = getattr(model, "config", None)
        names = self.label_names
        if not names and getattr(config, "id2label", None):
            assert config is not None
            names = tuple(str(config.id2label[i]) for i in range(len(config.id2label)))
        return super().resolve(model, tokenizer, rows).replace(label_names=names)

    def label(self, label: Any, row: int) -> Any:
        """Return the class's number: that of its name, where labels are strings."""
        if not isinstance(label, str):
            return label
        if label not in self.label_names:
            raise DataError(
                f"row {row}: label {label!r} is not among the network's classes {', '.join(self.label_names) or '(none)'}; "
                "use integers, or load the network with id2label and label2id."
            )
        return self.label_names.index(label)


LIKELIHOOD = SequenceClassification
