"""Laplace over the cores: Me-LoRA's r x r cores are few enough for the full Gauss-Newton matrix of all layers together."""

from bayespeft.adapters.core import Core
from bayespeft.config import TrainConfig
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="laplace_core",
    title="Laplace over cores",
    reference="this package; Daxberger et al. 2021, arXiv 2010.14689 (subnetwork Laplace)",
    summary="full Laplace over all r x r cores C together, A, B and head as points, linearised prediction",
    deviations="the subnetwork is given by the adapter, not chosen by the marginal variances of a first approximation",
    adapter=Core(r=8, alpha=16),
    guide=LaplaceFull(),
    latent_prior=Normal(scale=0.4),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    train=TrainConfig(epochs=8, lr=1e-3, kl_warmup=0.5),
)
