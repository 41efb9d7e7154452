"""What data is, as a hash: whether two passes, or two processes, read the same examples in the same order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bayespeft.data.batch import Batch


class Digest:
    """A hash of tensors: names, shapes, dtypes and every number."""

    def __init__(self) -> None:
        self._hash: Any = hashlib.blake2b(digest_size=16)

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor in."""
        self._hash.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        self._hash.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def add_batch(self, batch: Batch) -> None:
        """Take a batch in: positions, inputs and labels."""
        self.add("index", batch.index)
        self.add_inputs(batch)
        if batch.labels is not None:
            self.add("labels", batch.labels)

    def add_inputs(self, batch: Batch) -> None:
        """Take the inputs of a batch in, without positions and labels."""
        inputs = batch.inputs if isinstance(batch.inputs, Mapping) else {"": batch.inputs}
        for name, tensor in sorted(inputs.items()):
            self.add(name, tensor)

    def text(self) -> str:
        """Return what was taken in so far, as 32 hexadecimal digits."""
        return str(self._hash.hexdigest())
