"""Torch's process group, as launchers of several processes make it; one process where there is none."""

from __future__ import annotations

import torch.distributed as dist


def grouped() -> bool:
    """Whether this process is in a group."""
    return dist.is_available() and dist.is_initialized()


def process() -> int:
    """Return the number of this process in its group, from 0."""
    return dist.get_rank() if grouped() else 0


def processes() -> int:
    """Return how many processes the group has."""
    return dist.get_world_size() if grouped() else 1
