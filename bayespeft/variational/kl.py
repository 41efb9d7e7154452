"""Closed-form KL: checked when a guide is built, reported in nats.

Pyro's `TraceMeanField_ELBO` falls back to Monte Carlo without a word where no formula is registered; here that is an
error at construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from bayespeft.errors import GuideError
from bayespeft.guides.gaussian import GaussianGuide

if TYPE_CHECKING:
    from bayespeft.variational.approximation import Approximation


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


@torch.no_grad()
def point_constants(approximation: Approximation) -> float:
    """Return the log prior density of all points where it is highest, at the priors' centers, in nats.

    These normalising constants are in a density of points and move nothing: without them the term is a penalty from 0 up.
    """
    q, total = approximation.q(), 0.0
    for pack in approximation.sampled:
        if pack.name not in approximation.improper and pack.name not in approximation.random:
            center = approximation.get_buffer(f"center_{pack.name}")
            total += float(pack.prior.reported(center, q[pack.name])[0].log_prob(center).sum())
    return total


@torch.no_grad()
def reported_kl(approximation: Approximation) -> dict[str, Tensor]:
    """Return what is reported of q against the priors, in nats: KL(q || prior) of each pack that has a proper one.

    For a point it is -log prior density. It is KL(q || prior) whatever a guide trains by, and of a prior that is drawn anew
    at each step the expectation over these draws.

    Returns:
        By pack, (layers,) for a Gaussian, else () for all layers together.
    """
    q, latent, found = approximation.q(), approximation.latent, {}
    for pack in approximation.sampled:
        if pack.name in approximation.improper:
            continue
        law, constant = pack.prior.reported(approximation.get_buffer(f"center_{pack.name}"), q[pack.name])
        if isinstance(latent, GaussianGuide) and pack.name in latent.loc:
            kl = latent.kl_by_layer(pack.name, law)
        else:
            kl = kl_divergence(q[pack.name], law)
        found[pack.name] = kl + constant * (pack.init.numel() / kl.numel())
    return found
