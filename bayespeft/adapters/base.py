"""What every adapter offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from bayespeft.config import Plugin
from bayespeft.factors import Factor
from bayespeft.sites import Site
from bayespeft.weights import Weight


class Adapter(Plugin, ABC):
    """A parameterisation of the change of a linear layer y = W0 x (+ b), with x (..., n) and y (..., m)."""

    room: ClassVar[str] = "adapters"

    @abstractmethod
    def factors(self, site: Site, generator: torch.Generator) -> dict[str, Factor]:
        """Return the adapter's tensors at a site, with initial values drawn from `generator` (on the CPU)."""

    @abstractmethod
    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, site: Site) -> Tensor:
        """Return the adapted output (..., m), from the layer's input x (..., n) and its own output y (..., m)."""

    @abstractmethod
    def delta(self, factors: Mapping[str, Tensor], site: Site) -> Tensor:
        """Return the change of the weight, dense (m, n), for plain factor values: `apply` adds `delta @ x`."""

    def to_lora(self, factors: Mapping[str, Tensor], site: Site) -> tuple[Tensor, Tensor, float] | None:
        """Return A (r, n), B (m, r) and s with `delta` = s B A exactly, or None where the adapter has no such form."""
        return None


def kaiming_rows(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw LoRA's A (rows, columns): U(-1/sqrt n, 1/sqrt n), n = columns (kaiming_uniform with a = sqrt 5)."""
    bound = columns**-0.5
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
