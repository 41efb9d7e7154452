"""An adapted network says so where it has another number of outputs than in the fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bayespeft.adapters.core import Core
from bayespeft.errors import AttachError
from bayespeft.guides.mean_field import MeanField
from tests.training.helpers import problem


def test_outputs_are_as_many_as_they_were(mlp, xy):
    with problem(mlp, xy, Core(r=2), MeanField()) as p:
        p = replace(p, classes=3)
        p.check_outputs(torch.zeros(4, 3))
        p.check_outputs(torch.zeros(4, 7, 3))
        with pytest.raises(AttachError, match="Sequential gives 4 outputs, and this posterior is over 3"):
            p.check_outputs(torch.zeros(4, 4))
        replace(p, classes=None).check_outputs(torch.zeros(4, 4))
