"""Cumulative logit: P(y > k | x) = sigmoid(f_1(x) - sum of softplus(f_j(x)) for j = 2 ... k + 1), for classes in an order.

McCullagh 1980, Regression models for ordinal data (JRSS B 42(2)). The network has K - 1 outputs for K classes: the first is the
logit of being above the lowest class, the others say by how much each further step is harder, so that the logits fall and every
class has a probability.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.likelihoods.text import TextLikelihood


class Cumulative(TextLikelihood):
    """One of K ordered classes around the network's K - 1 outputs; labels are (n,) integers in [0, K)."""

    outputs: ClassVar[str] = "one output less than classes, (examples, classes - 1)"
    columns: ClassVar[str] = "text, [text_pair], label (an integer, 0 for the lowest)"

    def label(self, label: Any, row: int) -> Any:
        """Return the number as it is."""
        return label

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the categorical law of (n,) labels, given outputs (n, K - 1)."""
        above = torch.cat([logits[..., :1], -F.softplus(logits[..., 1:])], -1).cumsum(-1)
        # log P(y >= k) - log P(y > k), in logs: sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)).
        up, down = F.logsigmoid(above), F.logsigmoid(-above)
        between = up[..., :-1] + down[..., 1:] + torch.log(-torch.expm1(above[..., 1:] - above[..., :-1]))
        return dist.Categorical(logits=torch.cat([down[..., :1], between, up[..., -1:]], -1))  # type: ignore[no-any-return]


LIKELIHOOD = Cumulative
