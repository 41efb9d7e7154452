"""DoRA: LoRA of the direction and a magnitude for each output, by maximum likelihood."""

from bayespeft.adapters.dora import Dora
from bayespeft.guides.point import Point
from bayespeft.methods.base import TO_THE_END, Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="dora",
    title="DoRA",
    reference="Liu et al. 2024, arXiv 2402.09353",
    summary="g o (W0 + s B A) / |W0 + s B A|, norms row by row, by maximum likelihood: one network, no posterior",
    deviations="norms are of rows, as its code has them (of columns in the paper's words); targets, rate and length",
    adapter=Dora(r=8, alpha=16, constant_norm=True),
    guide=Point(),
    latent_prior=Flat(),
    train=TO_THE_END,
)
