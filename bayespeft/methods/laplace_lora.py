"""Laplace-LoRA: a LoRA trained to its mode, then a Kronecker-factored Laplace approximation around it."""

from bayespeft.adapters.lora import Lora
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn

METHOD = Method(
    name="laplace_lora",
    title="Laplace-LoRA",
    reference="Yang et al. 2023, arXiv 2308.13111",
    summary="Kronecker Laplace around a LoRA and its head, linearised prediction",
    deviations=(
        "Kronecker factors come from the exact Gauss-Newton root of each example (tokens are summed first, one Shampoo step "
        "towards the nearest Kronecker product) instead of K-FAC over tokens; both factors are kept whole, not the wide "
        "one's leading directions; the prior precision solves MacKay's equation instead of 100 steps of Adam; the point is "
        "trained under a normal prior"
    ),
    adapter=Lora(r=8, alpha=16),
    guide=LaplaceKronecker(),
    latent_prior=FanIn(scale=1.0),
    point_prior=FanIn(scale=1.0),
    head_prior=FanIn(scale=3.0),
    train=FREE,
)
