"""MLE: LoRA trained by maximum likelihood, the baseline whose confidence is the problem."""

from bayespeft.adapters.lora import Lora
from bayespeft.guides.point import Point
from bayespeft.methods.base import TO_THE_END, Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="mle",
    title="MLE (LoRA)",
    reference="Hu et al. 2021, arXiv 2106.09685",
    summary="LoRA by maximum likelihood: one network, no posterior",
    adapter=Lora(r=8, alpha=16),
    guide=Point(),
    latent_prior=Flat(),
    train=TO_THE_END,
)
