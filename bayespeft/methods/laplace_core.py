"""Laplace over the cores: Me-LoRA's r x r cores are few enough for the full Gauss-Newton matrix of all layers together."""

from bayespeft.adapters.core import Core
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn

METHOD = Method(
    name="laplace_core",
    title="Laplace over cores",
    reference="this package; Daxberger et al. 2021, arXiv 2010.14689 (subnetwork Laplace)",
    summary="full Laplace over all r x r cores C together, A, B and head as points, linearised prediction",
    deviations="the subnetwork is given by the adapter, not chosen by the marginal variances of a first approximation",
    adapter=Core(r=8, alpha=16),
    guide=LaplaceFull(),
    latent_prior=FanIn(scale=1.0),
    point_prior=FanIn(scale=1.0),
    head_prior=FanIn(scale=3.0),
    train=FREE,
)
