"""A batch: what the network is called with, the labels, and where its examples stand in the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter

import torch
from torch import Tensor

from bayespeft.data.columns import MASK

Inputs = Mapping[str, Tensor] | Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples, ready for the network.

    Attributes:
        inputs: keyword arguments of the network, each tensor (n, ...), or one positional tensor (n, ...).
        labels: (n, ...) or None where the data has none.
        index: (n,) int64, position of each example in the data.
    """

    inputs: Inputs
    labels: Tensor | None
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def _map_inputs(self, function: Callable[[Tensor], Tensor]) -> Inputs:
        if isinstance(self.inputs, Tensor):
            return function(self.inputs)
        return {name: function(value) for name, value in self.inputs.items()}

    def to(self, device: torch.device | str) -> Batch:
        """Move inputs and labels to a device; what was made in `torch.inference_mode()` is copied, or had no gradients."""

        def moved(tensor: Tensor) -> Tensor:
            found = tensor.to(device, non_blocking=True)
            if not found.is_inference():
                return found
            with torch.inference_mode(False):
                return found.clone()

        return replace(self, inputs=self._map_inputs(moved), labels=None if self.labels is None else moved(self.labels))

    def detached(self) -> Batch:
        """Return the batch apart from what its tensors were computed from, which is not to be trained."""
        labels = None if self.labels is None else self.labels.detach()
        return replace(self, inputs=self._map_inputs(Tensor.detach), labels=labels)

    def rows(self, index: Tensor | slice) -> Batch:
        """Return some examples of the batch, by (k,) positions in it, or by a slice, which copies nothing."""
        labels = None if self.labels is None else self.labels[index]
        return Batch(self._map_inputs(itemgetter(index)), labels, self.index[index])

    def uneven(self) -> Batch | None:
        """Return the longest and the shortest example; None where `attention_mask` doesn't say that they differ."""
        mask = self.inputs.get(MASK) if isinstance(self.inputs, Mapping) else None
        if mask is None or mask.dim() != 2:
            return None
        lengths = mask.ne(0).sum(1)
        two = torch.stack([lengths.argmax(), lengths.argmin()])
        return self.rows(two) if bool(lengths[two[0]] != lengths[two[1]]) else None

    def parts(self, rows: int) -> Iterator[Batch]:
        """Yield batches of at most so many examples each, in order."""
        for first in range(0, len(self), rows):
            yield self.rows(slice(first, first + rows))

    def repeat(self, draws: int) -> Batch:
        """Fold `draws` copies of the inputs into the batch axis, draw-major: (n, ...) -> (draws * n, ...).

        Labels and index stay (n,): they belong to examples, not to draws.
        """
        if draws == 1:
            return self
        return replace(self, inputs=self._map_inputs(lambda t: t.repeat(draws, *[1] * (t.dim() - 1))))
