"""Whether two samples come from one law, by a test that holds for any law: Kolmogorov's and Smirnov's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVEL = 1e-6
"""Probability that two samples of one law are taken for samples of two, in each comparison."""


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the largest distance between the distribution functions of samples (n, k) and (m, k), column by column: (k,)."""
    both, _ = torch.cat([first, second]).T.contiguous().sort()
    functions = [
        torch.searchsorted(sample.T.contiguous().sort()[0], both, right=True) / len(sample)
        for sample in (first, second)
    ]
    return (functions[0] - functions[1]).abs().amax(1)


def check_same(first: Tensor, second: Tensor, what: str) -> None:
    """Check that samples (n, ...) and (m, ...) have one law: in each element, and in as many random directions.

    Raises:
        AssertionError: they have not.
    """
    first, second = first.double().flatten(1), second.double().flatten(1)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(first.shape[1], first.shape[1], generator=generator, dtype=torch.double)
    allowed = math.sqrt(-0.5 * math.log(LEVEL / 2) * (1 / len(first) + 1 / len(second)))
    for place, columns in (
        ("an element", torch.eye(first.shape[1]).double()),
        ("a combination of elements", directions),
    ):
        worst = float(distances(first @ columns, second @ columns).max())
        assert worst <= allowed, (
            f"{what}: the distribution functions of {place} differ by {worst:.3f}, where samples of one law differ by more "
            f"than {allowed:.3f} once in {1 / LEVEL:,.0f} cases"
        )
