"""Bayesian RoSA: a mean-field posterior over the values of the sparse part; A and B are points."""

from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="bayes_rosa",
    title="Bayesian RoSA",
    reference="this package; Nikdan et al. 2024, arXiv 2401.04679 (RoSA)",
    summary="mean-field posterior over the values of S in W0 + S + s B A",
    adapter=SparseLowRank(r=8, alpha=16, density=0.006, mask_steps=0, mask_gradients=64, latent=("values",)),
    guide=MeanField(noise="example", init_std=(0.01, 0.01), std="exp"),
    latent_prior=Normal(scale=0.05),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    train=TrainConfig(epochs=8, lr=1e-3, variational_lr=1e-2, kl_warmup=0.5),
)
