"""What likelihoods share whose classes, or labels, have names."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeVar

from bayespeft.data.class_names import given, order_of, told
from bayespeft.data.columns import label_of
from bayespeft.data.source import Source
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.text import TextLikelihood
from bayespeft.utils.warned import warn

T = TypeVar("T", bound="NamedClasses")


class NamedClasses(TextLikelihood):
    """A likelihood over the network's own output whose entries, along the last axis, have names.

    Attributes:
        label_names: these names, in order; filled from the network's `id2label`, else from the data.
        data_names: what the training data calls its classes, in the order of its numbers, where the network numbers them
            otherwise: of other data that has numbers alone, nobody can then tell whose they are.
    """

    label_names: tuple[str, ...] = ()
    data_names: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names; LABEL_0, LABEL_1, ... are none."""
        return given(self.label_names)

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

        Raises:
            DataError: they are numbers, which may be the training data's or the network's.
        """
        if self.data_names and not source.class_names and numbered(source):
            raise DataError(
                f"the training data numbers its classes {told(self.data_names)}, and the network {told(self.class_names)}, and "
                "labels here are numbers, which may be either's: write them as names, or pass a data set that names its "
                "classes (ClassLabel)."
            )


def numbered(source: Source) -> bool:
    """Whether data has labels of which any is a number."""
    if source.rows is None:
        return source.ready is not None and next(iter(source.ready.batches(1))).labels is not None
    return any(_number(label_of(row, number)) for number, row in enumerate(source.rows))


def _number(label: Any) -> bool:
    if isinstance(label, (str, Real)) or label is None:
        return isinstance(label, Real)
    return any(map(_number, label)) if getattr(label, "ndim", 1) else True
