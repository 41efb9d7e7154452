"""Bayesian RoSA with a core: mean-field posteriors over the values of a sparse S and over the core C in W0 + S + s B C A."""

from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="bayes_rosa_core",
    title="Bayesian RoSA with a core",
    reference="this package; Nikdan et al. 2024, arXiv 2401.04679 (RoSA); Me-LoRA, ICLR 2025 submission",
    summary="mean-field posterior over the values of S and the core C in W0 + S + s B C A",
    deviations="S is an eighth of its latent values, so that they and C can share a prior: as in bayes_rosa and in melora",
    adapter=SparseLowRank(
        r=8, alpha=16, density=0.006, mask_steps=0, mask_gradients=64, scale=0.125, latent=("values", "C")
    ),
    guide=MeanField(noise="example", init_std=(0.2, 0.2), std="exp"),
    latent_prior=Normal(scale=0.4),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    # A step of S is as large as in bayes_rosa.
    train=TrainConfig(epochs=8, lr=1e-3, factor_lr={"values": 8e-3}, variational_lr=1e-2, kl_warmup=0.5),
)
