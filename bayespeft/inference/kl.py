"""Closed-form KL: checked when a guide is built, reported in nats.

Pyro's `TraceMeanField_ELBO` falls back to Monte Carlo without a word where no formula is registered; here that is an
error at construction.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from bayespeft.errors import GuideError


def check_closed_form(name: str, q: Distribution, p: Distribution) -> None:
    """Prove that KL(q || p) has a registered formula that gives one finite number.

    Raises:
        GuideError: it has none, or the two have different shapes, or the number is not finite.
    """
    if q.batch_shape != torch.Size() or p.batch_shape != torch.Size() or q.event_shape != p.event_shape:
        raise GuideError(
            f"site '{name}': guide {tuple(q.batch_shape)} {tuple(q.event_shape)} and prior {tuple(p.batch_shape)} "
            f"{tuple(p.event_shape)} must have the same event shape and no batch shape."
        )
    try:
        kl = kl_divergence(q, p).detach()
    except NotImplementedError:
        raise GuideError(
            f"site '{name}': no closed-form KL of {type(q).__name__} against {type(p).__name__} is registered; register "
            "one with torch.distributions.register_kl, or choose another prior."
        ) from None
    if not torch.isfinite(kl):
        raise GuideError(
            f"site '{name}': KL of guide against prior is {float(kl)} at the start; check the prior's scale."
        )


def kl_terms(q: Mapping[str, Distribution], p: Mapping[str, Distribution]) -> dict[str, Tensor]:
    """Return KL(q || p) of each site in nats, detached; for a point it is -log p(value)."""
    with torch.no_grad():
        return {name: kl_divergence(q[name], p[name]) for name in p}
