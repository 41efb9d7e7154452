"""KL(q || p) in nats: by a formula where one is registered, else by Monte Carlo, where guide or prior says that it may be.

Pyro's `TraceMeanField_ELBO` falls back to Monte Carlo without a word where no formula is registered. Here it is an error when
the guide is built, unless the guide or the prior says `closed_form = False`: then E_q[ln q(w) - ln p(w)] is estimated from
reparameterised draws, whose gradient is unbiased (Kingma & Welling 2014, arXiv 1312.6114), and what is reported comes with
its standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from bayespeft.errors import GuideError
from bayespeft.gaussians.base import elements_of
from bayespeft.utils.randomness import seeded

DRAWS = 64
"""Draws of q behind a KL that is reported where there is no formula."""

# This many numbers are drawn at once: 16 MiB in each array.
_CHUNK = 2**22


@dataclass(frozen=True)
class Divergence:
    """A KL that is reported, in nats.

    Attributes:
        nats: (layers,), or () where it does not come apart by layer.
        error: standard error of the sum, of a Monte Carlo estimate; None for a formula.
    """

    nats: Tensor
    error: float | None = None

    def plus(self, constant: float, numbers: int) -> Divergence:
        """Return it with a constant added for each of so many numbers."""
        return replace(self, nats=self.nats + constant * (numbers / self.nats.numel()))


def check_kl(name: str, q: Distribution, p: Distribution, *, estimable: bool = False) -> None:
    """Check that KL(q || p) is one finite number, by a formula or, where guide or prior allow it, by Monte Carlo.

    Args:
        name: of the Pyro site.
        q: of the guide.
        p: of the prior.
        estimable: guide or prior say that there may be no formula.

    Raises:
        GuideError: there is no formula and there must be one, or q has no reparameterised draws; or the two have different
            shapes; or the number is not finite.
    """
    if q.batch_shape != torch.Size() or p.batch_shape != torch.Size() or q.event_shape != p.event_shape:
        raise GuideError(
            f"site '{name}': guide {tuple(q.batch_shape)} {tuple(q.event_shape)} and prior {tuple(p.batch_shape)} "
            f"{tuple(p.event_shape)} must have the same event shape and no batch shape."
        )
    kl = closed_form(q, p)
    if kl is None:
        if not estimable:
            raise GuideError(
                f"site '{name}': no closed-form KL of {_law(q)} against {_law(p)} is registered. Register one with "
                "torch.distributions.register_kl, choose another prior, or let the guide or the prior say closed_form = False: "
                "the KL is then Monte Carlo."
            )
        if not q.has_rsample:
            raise GuideError(
                f"site '{name}': {_law(q)} has no reparameterised draws (rsample), so a Monte Carlo KL would have no gradient. "
                "Give the guide a q whose draws are differentiable functions of noise."
            )
        kl = estimate(q, p).nats
    if not torch.isfinite(kl).all():
        raise GuideError(
            f"site '{name}': KL of guide against prior is {float(kl.sum())} at the start; check the prior's scale."
        )


def closed_form(q: Distribution, p: Distribution) -> Tensor | None:
    """Return KL(q || p), batch shape, by the formula that is registered for the two; None where none is."""
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def objective_kl(q: Distribution, p: Distribution) -> Tensor:
    """Return KL(q || p) as it is trained, with gradients, (): its formula, or ln q(w) - ln p(w) of one draw."""
    kl = closed_form(q, p)
    return _log_ratio(q, p, 1).sum() if kl is None else kl


@torch.no_grad()
def estimate(q: Distribution, p: Distribution, draws: int = DRAWS) -> Divergence:
    """Estimate KL(q || p) by Monte Carlo; the same draws at each call, and the caller's random state stays as it is.

    Args:
        q: has the density of its own draws.
        p: has a density.
        draws: of q.
    """
    size, parts = max(1, _CHUNK // max(1, q.event_shape.numel())), []
    with seeded(0):
        for first in range(0, draws, size):
            parts.append(_log_ratio(q, p, min(size, draws - first)).double())
    ratios = torch.cat(parts)
    # What does not come apart is one number, and of a stack of one layer that layer's.
    by_layer = ratios.shape[1] == q.event_shape[0]
    mean = ratios.mean(0)
    return Divergence(mean if by_layer else mean.squeeze(0), float(ratios.sum(1).std()) / math.sqrt(draws))


def _log_ratio(q: Distribution, p: Distribution, draws: int) -> Tensor:
    """ln q(w) - ln p(w) of draws w of q, (draws, layers), or (draws, 1)."""
    values = q.rsample(torch.Size([draws]))
    own, prior = log_density(q, values), log_density(p, values)
    if own.shape == prior.shape:
        return own - prior
    return own.sum(-1, keepdim=True) - prior.sum(-1, keepdim=True)


def log_density(law: Distribution, values: Tensor) -> Tensor:
    """Return the log density of values (n, layers, ...) by layer, (n, layers); (n, 1) of a law that does not come apart."""
    by_layer: Any = getattr(law, "log_prob_by_layer", None)
    if by_layer is not None:
        found: Tensor = by_layer(values)
        return found
    elements = elements_of(law)
    if elements is None or elements.batch_shape != law.event_shape:
        return law.log_prob(values).unsqueeze(-1)
    return elements.log_prob(values).reshape(*values.shape[:2], -1).sum(-1)


def _law(law: Distribution) -> str:
    """The name of a law's class, or that of its elements."""
    elements = elements_of(law)
    return type(law if elements is None else elements).__name__
