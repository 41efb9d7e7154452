"""What likelihoods share whose classes, or labels, have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from bayespeft.data.class_names import given
from bayespeft.errors import ConfigError
from bayespeft.likelihoods.text import TextLikelihood

T = TypeVar("T", bound="NamedClasses")


class NamedClasses(TextLikelihood):
    """A likelihood over the network's own output whose entries, along the last axis, have names.

    Attributes:
        label_names: these names, in order; filled from the network's `id2label`, else from the data.
    """

    label_names: tuple[str, ...] = ()

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
        """Return this likelihood with the data's names of its classes, where nobody else named them.

        Names of another number of classes than the network's are left to the check of labels.
        """
        wanted = not self.class_names and names and len(names) == (len(self.label_names) or len(names))
        return self.replace(label_names=tuple(names)) if wanted else self
