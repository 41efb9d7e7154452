"""A network with adapters at work and a posterior over them: what it takes to run a draw, for training and prediction alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import Attachment
from bayespeft.errors import AttachError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.variational.joint_guide import JointGuide


@dataclass(eq=False)
class Adapted:
    """All that running a draw of the posterior takes.

    Attributes:
        model: the network, untouched.
        attachment: its hooks, switched on.
        joint_guide: q and the priors.
        likelihood: what the output means.
        device: where the network runs.
        classes: K, to check labels against; None where labels are no classes, or K is not known yet.
    """

    model: nn.Module
    attachment: Attachment
    joint_guide: JointGuide
    likelihood: Likelihood
    device: torch.device
    classes: int | None = None

    def check_outputs(self, logits: Tensor) -> None:
        """Check that outputs (..., K) are as many as they were in the fit.

        Raises:
            AttachError: they are not.
        """
        if self.classes is not None and logits.shape[-1] != self.classes:
            raise AttachError(
                f"{type(self.model).__name__} gives {logits.shape[-1]} outputs, and this posterior is over {self.classes}: the "
                "network's last layer, or the posterior's file, was changed after the fit."
            )
