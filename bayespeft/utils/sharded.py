"""Parameters of which each process has a part (DTensor, as FSDP2 leaves them)."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_sharded(tensor: object) -> bool:
    """Whether a tensor is spread over processes."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its numbers, detached: gathered where it is spread, which all processes must do together."""
    sharded: Any = tensor
    gathered: Tensor = sharded.full_tensor() if is_sharded(tensor) else tensor
    return gathered.detach()
