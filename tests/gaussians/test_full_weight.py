"""The theorem that lets a posterior over a small factor stand for one over the whole weight.

A latent factor enters a weight linearly, vec(delta W) = J vec(latent), with the other factors fixed. q and prior of the
weight are then degenerate normals on the columns of J, and their KL there is that of the factor if J is injective; if it is
not, since B or A lost rank, the weight's KL is smaller (data processing). BLoB, theorem 3.2; Me-LoRA, section 3.2.
"""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from bayespeft.adapters.core import Core
from bayespeft.adapters.lora import Lora
from bayespeft.gaussians import kl_by_layer
from bayespeft.layers.layer import Layer
from tests.gaussians.families import FAMILIES, dense, prior, randn, seeded, seeds

families = st.sampled_from(sorted(FAMILIES))


def jacobian(adapter, latent: str, shape: tuple[int, int], points: dict[str, Tensor], layer: Layer) -> Tensor:
    """J (m n, size): what each element of the latent factor does to the weight."""
    units = torch.eye(shape[0] * shape[1], dtype=torch.double).reshape(-1, *shape)
    return torch.stack([adapter.delta({**points, latent: unit}, layer).flatten() for unit in units], dim=1)


def full_weight_kl(j: Tensor, q: MultivariateNormal, p: MultivariateNormal) -> Tensor:
    """KL of the two degenerate normals of the weight, by their densities on the subspace that they live in."""
    left, values, _ = torch.linalg.svd(j, full_matrices=False)
    onto = left[:, values > 1e-10 * values[0]].mT @ j

    def pushed(law: MultivariateNormal) -> MultivariateNormal:
        return MultivariateNormal(onto @ law.mean, onto @ law.covariance_matrix @ onto.mT)

    return kl_divergence(pushed(q), pushed(p))


def laws(family: str, shape: tuple[int, int], generator: torch.Generator):
    q, p = FAMILIES[family]((1, *shape), generator), prior((1, *shape), generator)
    wide = torch.diag(p.base_dist.scale.flatten() ** 2)
    return kl_by_layer(q, p)[0], dense(q), MultivariateNormal(p.base_dist.loc.flatten(), wide)


def cases(r: int, m: int, n: int, generator: torch.Generator):
    """Core with its C latent, and LoRA with its A latent."""
    layer = Layer("layer", n, m, "linear", nn.Linear(n, m))
    b, a = randn(generator, m, r), randn(generator, r, n)
    yield Core(r=r, alpha=2.0 * r), "C", (r, r), {"A": a, "B": b}, layer
    yield Lora(r=r, alpha=3.0, latent=("A",)), "A", (r, n), {"B": b}, layer


@given(family=families, r=st.integers(1, 3), extra=st.tuples(st.integers(0, 3), st.integers(0, 3)), seed=seeds)
def test_the_kl_of_the_factor_is_that_of_the_whole_weight(family, r, extra, seed):
    generator = seeded(seed)
    for adapter, latent, shape, points, layer in cases(r, r + extra[0], r + extra[1], generator):
        kl, q, p = laws(family, shape, generator)
        j = jacobian(adapter, latent, shape, points, layer)
        whole = full_weight_kl(j, MultivariateNormal(q.mean[0], q.covariance_matrix[0]), p)
        torch.testing.assert_close(whole, kl, rtol=1e-5, atol=1e-6)


@given(family=families, seed=seeds)
def test_where_b_loses_rank_the_weight_has_less(family, seed):
    generator = seeded(seed)
    for adapter, latent, shape, points, layer in cases(2, 4, 3, generator):
        points["B"][:, 1] = 2 * points["B"][:, 0]
        kl, q, p = laws(family, shape, generator)
        j = jacobian(adapter, latent, shape, points, layer)
        whole = full_weight_kl(j, MultivariateNormal(q.mean[0], q.covariance_matrix[0]), p)
        assert -1e-9 < whole < kl
