"""Sequence classification: the network's own output is one logit per class.

For `AutoModelForSequenceClassification` networks and for plain modules that map a tensor to logits (n, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from torch import nn

from bayespeft.data.class_names import given, in_order, told
from bayespeft.data.columns import Row, TableInteger, label_of
from bayespeft.data.source import Source
from bayespeft.errors import DataError
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.named_classes import NamedClasses, numbered
from bayespeft.networks.configuration import names_of_outputs
from bayespeft.utils.warned import warn


class SequenceClassification(NamedClasses, Categorical):
    """Categorical over the network's K logits.

    Attributes:
        label_names: names of the classes, for rows whose labels are strings; filled from the network's `id2label`, else
            from the data: its own names, or, where labels are strings, these in sorted order.
        named_by_labels: the names are labels of rows that were strings: a label that is a number may be one of them.
    """

    outputs: ClassVar[str] = "logits of shape (examples, classes)"
    named_by_labels: bool = False

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> SequenceClassification:
        """Take the class names and the length limit from the network; errors as the base.

        A warning says how labels are numbered that are strings, where nobody numbered them.
        """
        names = self.label_names or names_of_outputs(model)
        by_labels = self.named_by_labels
        if rows and not given(names):
            own, names = names, _names_of_labels(rows, names)
            by_labels = names != own
        return super().resolve(model, tokenizer, rows).replace(label_names=names, named_by_labels=by_labels)

    @property
    def _called(self) -> tuple[str, ...]:
        return self.label_names

    def check_numbering(self, source: Source) -> None:
        """As the base; a warning says what numbers are taken for where training data had names, which the fit put in order."""
        super().check_numbering(source)
        decimal = any(name.isdecimal() for name in self.class_names)
        if self.named_by_labels and not decimal and not source.class_names and numbered(source):
            warn(
                f"labels here are numbers, and those of the training rows were names, which were numbered in sorted order: a "
                f"number is taken for that of {told(self.class_names)}. Write labels as names to be sure.",
            )

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


def number_of(label: str, names: Sequence[str], row: int) -> int:
    """Return the number of a class that has a name.

    Raises:
        DataError: none of the network's has it, or several have.
    """
    if label not in names:
        raise DataError(
            f"row {row}: label {label!r} is not among the network's classes {', '.join(names) or '(none)'}; "
            "use integers, or load the network with id2label and label2id."
        )
    if names.count(label) > 1:
        raise DataError(
            f"row {row}: label {label!r} is the name of {names.count(label)} of the network's classes; use "
            "integers, or give each class a name of its own in model.config.id2label."
        )
    return names.index(label)


def _names_of_labels(rows: Sequence[Row], outputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of classes that nobody named: labels that are strings, in sorted order; else what outputs are called.

    Raises:
        DataError: there are more or fewer of them than outputs.
    """
    if not isinstance(label_of(rows[0], 0), str):
        return outputs
    labels = [label_of(row, number) for number, row in enumerate(rows)]
    if not all(isinstance(label, str) for label in labels) or set(labels) <= set(outputs):
        return outputs
    names = in_order(labels)
    if outputs and len(names) != len(outputs):
        raise DataError(
            f"the rows have {len(names)} different labels ({told(names)}), and the network has {len(outputs)} outputs, which "
            f"nobody named: load it with num_labels={len(names)}, or name all of its outputs in model.config.id2label."
        )
    warn(
        f"the labels are strings, and nobody numbered them: the classes are, in sorted order, {told(names)}. Set "
        "model.config.id2label for another order.",
    )
    return names


LIKELIHOOD = SequenceClassification
