"""What likelihoods share whose classes, or labels, have names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, TypeVar

from torch import nn

from bayespeft.data.class_names import given, in_order, order_of, told
from bayespeft.data.columns import Row, label_of
from bayespeft.data.source import Source
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.text import TextLikelihood
from bayespeft.networks.configuration import names_of_outputs
from bayespeft.utils.warned import warn

T = TypeVar("T", bound="NamedClasses")


class NamedClasses(TextLikelihood):
    """A likelihood over the network's own output whose entries, along the last axis, have names.

    Attributes:
        label_names: these names, in order; filled from the network's `id2label`, else from the data.
        named_by_labels: the names are labels of rows that were strings: a label that is a number may be one of them.
        data_names: what the training data calls its classes, in the order of its numbers, where the network numbers them
            otherwise: of other data that has numbers alone, nobody can then tell whose they are.
    """

    label_names: tuple[str, ...] = ()
    named_by_labels: bool = False
    data_names: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names; LABEL_0, LABEL_1, ... are none."""
        return given(self.label_names)

    def names_of(self, model: nn.Module, rows: Sequence[Row] | None) -> tuple[tuple[str, ...], bool]:
        """Return the network's names or, where labels of rows are strings, these in sorted order; and whether it is these.

        A warning says how labels are numbered that are strings, where nobody numbered them.

        Raises:
            DataError: there are more or fewer different labels than outputs.
        """
        names = self.label_names or names_of_outputs(model)
        if not rows or given(names):
            return names, self.named_by_labels
        found = _names_of_labels(rows, names)
        return found, found != names

    def check_outputs(self, outputs: int) -> None:
        """Check that there are no more names than outputs, and none twice."""
        super().check_outputs(outputs)
        names = self.class_names
        if len(names) > outputs or len({*names}) < len(names):
            raise ConfigError(
                f"label_names has {len(names)} names, {len({*names})} of them different, for the network's {outputs} outputs: "
                "give each output a name of its own."
            )

    def named(self: T, names: Sequence[str]) -> T:
        """Return this likelihood with the data's names of its classes, where nobody else named them; else their order.

        A warning says that data and network number them differently.

        Names of another number of classes than the network's are left to the check of labels.

        Raises:
            DataError: the data has a name that the network does not know.
        """
        if self.class_names and names:
            if order_of(names, self.class_names) is None:
                return self.replace(data_names=())
            warn(
                f"the data numbers its classes {told(names)}, and the network {told(self.class_names)}: labels of predictions "
                "and columns of probabilities have the network's numbers.",
            )
            return self.replace(data_names=tuple(names))
        wanted = names and len(names) == (len(self.label_names) or len(names))
        return self.replace(label_names=tuple(names)) if wanted else self

    def check_numbering(self, source: Source) -> None:
        """Check that labels of data that does not name its classes can be told, where training data had other numbers.

        A warning says what numbers are taken for where training data had names, which the fit put in order.

        Raises:
            DataError: they are numbers, which may be the training data's or the network's.
        """
        if self.data_names and not source.class_names and numbered(source):
            raise DataError(
                f"the training data numbers its classes {told(self.data_names)}, and the network {told(self.class_names)}, and "
                "labels here are numbers, which may be either's: write them as names, or pass a data set that names its "
                "classes (ClassLabel)."
            )
        decimal = any(name.isdecimal() for name in self.class_names)
        if self.named_by_labels and not decimal and not source.class_names and numbered(source):
            warn(
                f"labels here are numbers, and those of the training rows were names, which were numbered in sorted order: a "
                f"number is taken for that of {told(self.class_names)}. Write labels as names to be sure.",
            )


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


def numbered(source: Source) -> bool:
    """Whether data has labels of which any is a number."""
    if source.rows is None:
        return source.ready is not None and next(iter(source.ready.batches(1))).labels is not None
    return any(_number(label_of(row, number)) for number, row in enumerate(source.rows))


def _number(label: Any) -> bool:
    if isinstance(label, (str, Real)) or label is None:
        return isinstance(label, Real)
    return any(map(_number, label)) if getattr(label, "ndim", 1) else True


def _names_of_labels(rows: Sequence[Row], outputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of classes that nobody named: labels that are strings, in sorted order; else what outputs are called."""
    if not all(isinstance(label, str) for label in _parts(label_of(rows[0], 0))):
        return outputs
    labels = [part for number, row in enumerate(rows) for part in _parts(label_of(row, number))]
    if not labels or not all(isinstance(label, str) for label in labels) or set(labels) <= set(outputs):
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


def _parts(label: Any) -> Sequence[Any]:
    """Return the labels of a row: one, or those in a list."""
    found = label.tolist() if hasattr(label, "tolist") else label  # an array or a tensor of one number gives the number
    return [found] if isinstance(found, str) or not isinstance(found, Iterable) else list(found)
