"""Rank-1 BNN: a mean-field posterior over an input and an output factor of each layer, W0 o (b a^T)."""

from bayespeft.adapters.rank_one import RankOne
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="rank_one",
    title="Rank-1 BNN",
    reference="Dusenberry et al. 2020, arXiv 2005.07186",
    summary="mean-field posterior over a and b in W0 o (b a^T), prior N(1, 0.1^2)",
    deviations="one component instead of a mixture; W0 is the pretrained weight and stays, where the paper trains it too",
    adapter=RankOne(),
    guide=MeanField(noise="example", init_std=(0.05, 0.05)),
    latent_prior=Normal(scale=0.1),
    head_prior=FanIn(scale=3.0),
    train=TrainConfig(epochs=8, lr=1e-2, variational_lr=1e-2, kl_warmup=0.5),
)
