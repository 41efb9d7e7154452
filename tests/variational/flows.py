"""A normal that is said as a flow, so that its class has no formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bayespeft.guides import Guide, GuideSpec, MeanField, StackedFactor
from bayespeft.guides.transformed import TransformedGuide


class Straight(TransformedGuide):
    """mean + std e, said as a flow: a normal whose class has no formula."""

    def __init__(self, stacks: Sequence[StackedFactor], generator: torch.Generator, std: float) -> None:
        super().__init__(stacks)
        self.inner = MeanField(init_std=(std, std)).build(stacks, generator)

    def flow(self, name: str, noise: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.inner.raw[name].flatten(1)
        return self.inner.loc[name].flatten(1) + raw.exp() * noise, raw.sum(-1)


class Flow(GuideSpec):
    closed_form: ClassVar[bool] = False
    noise: Any = "batch"
    std: float = 0.2

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> Guide:
        return Straight(stacks, generator, self.std)
