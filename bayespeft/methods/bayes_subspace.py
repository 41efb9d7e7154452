"""Bayes in ROSA's subspace: a mean-field posterior over the r x r core between the factors of the current split."""

from bayespeft.adapters.subspace_core import SubspaceCore
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="bayes_subspace",
    title="Bayesian random subspace",
    reference="this package, after ROSA (Hameed and Rabusseau 2023) and Me-LoRA (ICLR 2025 submission)",
    summary="mean-field posterior over the r x r core in ROSA's current random subspace",
    deviations=(
        "a merge moves the posterior mean into the weights; of the spread it keeps what the next subspace can express, so that "
        "the posterior is over the last subspace, given the means of those before"
    ),
    adapter=SubspaceCore(r=8, every=2),
    guide=MeanField(noise="example", init_std=(0.2, 0.2), std="exp"),
    latent_prior=Normal(scale=0.4),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    train=TrainConfig(epochs=8, lr=1e-3, variational_lr=1e-2, kl_warmup=0.5),
)
