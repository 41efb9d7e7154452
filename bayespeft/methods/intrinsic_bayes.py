"""Bayesian intrinsic dimension: a mean-field posterior over the d numbers that move the whole network."""

from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.methods.intrinsic import METHOD as INTRINSIC
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD: Method = INTRINSIC.replace(
    name="intrinsic_bayes",
    title="Bayesian intrinsic dimension",
    reference="this package; Aghajanyan et al. 2020, arXiv 2012.13255 (SAID)",
    summary="mean-field posterior over the one vector theta of the whole network",
    deviations=(
        "linear layers only; scales of layers and a fresh head are points under a normal prior; one draw of theta for each "
        "batch, since each draw makes a dense change of every layer"
    ),
    guide=MeanField(noise="batch", init_std=(0.02, 0.02), std="exp"),
    latent_prior=Normal(scale=0.3),
    point_prior=Normal(scale=1.0),
    head_prior=FanIn(scale=3.0),
    train=INTRINSIC.train.replace(variational_lr=1e-2, kl_warmup=0.5),
)
