"""A predictor whose draws differ."""

from __future__ import annotations

import torch

from bayespeft.guides.mean_field import MeanField
from bayespeft.prediction.predictor import Predictor

SPEC = MeanField(init_std=(0.5, 1.0))


def predictor(p) -> Predictor:
    # B starts at zero, where no draw would matter.
    with torch.no_grad():
        for name, parameter in p.joint_guide.points.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return Predictor(p)
