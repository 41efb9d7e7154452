"""Last-layer Laplace: the full Gauss-Newton matrix over a freshly made head, its weight and bias together.

Snoek et al. 2015 (arXiv 1502.05700); Kristiadi et al. 2020 (arXiv 2002.10118), who show that it suffices against
over-confidence far from the data. The logits are linear in a linear head, so its linearised predictive is exact.
"""

from __future__ import annotations

from typing import ClassVar

from bayespeft.guides.base import Covers
from bayespeft.guides.laplace_full import LaplaceFull


class LaplaceLastLayer(LaplaceFull):
    """Full Laplace over the head; adapters stay points."""

    covers: ClassVar[Covers] = "head"
    remedy: ClassVar[str] = (
        "Use guide 'laplace_kronecker' or 'laplace_diagonal' (methods 'laplace_lora', 'laplace_lora_diagonal'), which cover "
        "the head too, or method 'vbll', which has a covariance for each class."
    )


GUIDE = LaplaceLastLayer
