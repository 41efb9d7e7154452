"""Sequence classification: the network's own output is one logit per class.

For `AutoModelForSequenceClassification` networks and for plain modules that map a tensor to logits (n, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from torch import nn

from bayespeft.data.columns import Row, TableInteger
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.named_classes import NamedClasses, number_of


class SequenceClassification(NamedClasses, Categorical):
    """Categorical over the network's K logits.

    Attributes:
        label_names: names of the classes, for rows whose labels are strings; filled from the network's `id2label`, else
            from the data: its own names, or, where labels are strings, these in sorted order.
    """

    outputs: ClassVar[str] = "logits of shape (examples, classes)"

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> SequenceClassification:
        """Take the class names and the length limit from the network; errors as the base.

        A warning says how labels are numbered that are strings, where nobody numbered them.
        """
        names, by_labels = self.names_of(model, rows)
        return super().resolve(model, tokenizer, rows).replace(label_names=names, named_by_labels=by_labels)

    @property
    def _called(self) -> tuple[str, ...]:
        return self.label_names

    def label(self, label: Any, row: int) -> Any:
        """Return the class's number: that of its name, where labels are strings.

        Where names of classes are numbers, a number is such a name if strings named the classes, or if it is a cell of a table:
        which labels occur in a file must not decide what they mean. True and False are names where classes are called so.
        """
        if isinstance(label, str):
            return number_of(label, self.label_names, row)
        if isinstance(label, (bool, np.bool_)):
            # BoolQ's answers are of this type, and a network may be called to say "true" first.
            plain = [name.strip().casefold() for name in self.class_names]
            return plain.index(str(label).casefold()) if sorted(plain) == ["false", "true"] else label
        a_name = isinstance(label, TableInteger) or (self.named_by_labels and isinstance(label, Integral))
        if a_name and any(name.isdecimal() for name in self.class_names):
            return number_of(str(int(label)), self.label_names, row)
        return label


LIKELIHOOD = SequenceClassification
