"""Bayes by backprop over both factors of LoRA: mean field over A and B."""

from bayespeft.adapters.lora import Lora
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="bayes_lora",
    title="Bayes by backprop (LoRA)",
    reference="Blundell et al. 2015, arXiv 1505.05424",
    summary="mean-field posterior over both A and B of LoRA, Flipout",
    deviations="over LoRA's factors, not the weights; a normal prior instead of a mixture of two",
    adapter=Lora(r=8, alpha=16, latent=("A", "B")),
    guide=MeanField(noise="flipout", init_std=(0.01, 0.01)),
    latent_prior=Normal(scale=0.2),
    head_prior=FanIn(scale=3.0),
    # Slow spread: where std reaches the prior's before the means have found the signal, the signal is lost.
    train=FREE.replace(variational_lr=1e-3),
)
