"""The objective as a module: what engines that train modules (DistributedDataParallel, accelerate, Lightning) are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import ConfigError
from bayespeft.variational.joint_guide import JointGuide


class Objective(nn.Module):
    """A module whose parameters are what is trained, and whose forward pass is the loss.

    The network is no part of it, since nothing of it is trained: engines neither synchronise nor save it. It goes along to
    another device.

    Args:
        joint_guide: what is trained.
        loss: from a batch, and the mean size of a batch, to the objective.
        moved: is told of another device.
    """

    def __init__(
        self,
        joint_guide: JointGuide,
        loss: Callable[[Any, float | None], Tensor],
        moved: Callable[[torch.device], None],
    ) -> None:
        super().__init__()
        self.joint_guide = joint_guide
        self._loss, self._moved = loss, moved

    def forward(self, batch: Any, rows: float | None = None) -> Tensor:
        """Return the objective on a batch, in nats per example: see `Adaptation.loss`."""
        return self._loss(batch, rows)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Objective:
        """Move or cast: torch's way behind `to`, `cuda`, `half`, and so on.

        Raises:
            ConfigError: what is trained would leave float32.
        """
        if fn(torch.zeros(())).dtype != torch.float32:
            raise ConfigError(
                "variational parameters are float32: spreads of a hundredth and steps of a thousandth are lost in half "
                "precision. Ask the engine for mixed precision (bf16-mixed, mixed_precision='bf16'), which runs the network "
                "alone in it."
            )
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._moved(next(self.parameters()).device)
        return self
