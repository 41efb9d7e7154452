"""Examples without their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bayespeft.data.batch import Batch
from bayespeft.data.wrapped import WrappedExamples


@dataclass(frozen=True)
class UnlabelledExamples(WrappedExamples):
    """Examples whose labels are not read: they may be of other classes than the network's."""

    def changed(self, batch: Batch) -> Batch:
        """Return a batch without its labels."""
        return replace(batch, labels=None)

    def labels(self) -> None:
        """None."""
