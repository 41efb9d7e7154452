"""What is reported of q against the priors, in nats: the same whatever a guide trains by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.guides.base import Guide
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.variational.kl import Divergence, closed_form, estimate


class PriorTerms(NamedTuple):
    """The two prior terms of the objective as they are reported, in nats.

    Attributes:
        kl: KL(q || prior) of what is random.
        prior: -log prior density of the points.
        kl_error: standard error of the first, where a part of it is a Monte Carlo estimate.
    """

    kl: float
    prior: float
    kl_error: float | None


@torch.no_grad()
def point_constants(joint_guide: JointGuide) -> float:
    """Return the log prior density of all points where it is highest, at the priors' centers, in nats.

    These normalising constants are in a density of points and move nothing: without them the term is a penalty from 0 up.
    """
    q, total = joint_guide.q(), 0.0
    for stack in joint_guide.sampled:
        if stack.name not in joint_guide.improper and stack.name not in joint_guide.random:
            center = joint_guide.get_buffer(f"center_{stack.name}")
            total += float(stack.prior.reported(center, q[stack.name])[0].log_prob(center).sum())
    return total


@torch.no_grad()
def reported_kl(joint_guide: JointGuide) -> dict[str, Divergence]:
    """Return KL(q || prior) of each stack that has a proper prior, by name: a formula, or a Monte Carlo estimate.

    For a point it is -log prior density. It is KL(q || prior) whatever a guide trains by, and of a prior that is drawn anew
    at each step the expectation over these draws.
    """
    q, latent, found = joint_guide.q(), joint_guide.latent, {}
    for stack in joint_guide.sampled:
        if stack.name in joint_guide.improper:
            continue
        law, constant = stack.prior.reported(joint_guide.get_buffer(f"center_{stack.name}"), q[stack.name])
        kl = _formula(latent, stack.name, q[stack.name], law)
        divergence = estimate(q[stack.name], law) if kl is None else Divergence(kl)
        found[stack.name] = divergence.plus(constant, stack.init.numel())
    return found


def _formula(latent: Guide, name: str, q: Distribution, law: Distribution) -> Tensor | None:
    """KL(q || law), by layer for a Gaussian guide, which may train by another; None where there is no formula."""
    if isinstance(latent, GaussianGuide) and name in latent.loc:
        try:
            return latent.kl_by_layer(name, law)
        except NotImplementedError:
            return None
    return closed_form(q, law)


def prior_terms(joint_guide: JointGuide) -> PriorTerms:
    """Return the sums of `reported_kl` over what is random, and over the points."""
    terms = reported_kl(joint_guide)
    random = [term for name, term in terms.items() if name in joint_guide.random]
    errors = [term.error for term in random if term.error is not None]
    return PriorTerms(
        sum(float(term.nats.sum()) for term in random),
        sum(float(term.nats.sum()) for name, term in terms.items() if name not in joint_guide.random),
        sum(error**2 for error in errors) ** 0.5 if errors else None,
    )
