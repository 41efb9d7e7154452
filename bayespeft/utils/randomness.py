"""The caller's random state is the caller's: what is random in here comes from a seed and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bayespeft.utils.threads import alone


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside a `with` block, on the CPU and every GPU, and restore them afterwards.

    One block at a time in a process: of two that overlap, the later one would restore what the earlier one had seeded.
    """
    with alone(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
