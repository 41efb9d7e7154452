"""VBLL: a LoRA as a point, and a Gaussian over the output layer that is fitted without draws."""

from bayespeft.adapters.lora import Lora
from bayespeft.guides.variational_last_layer import VariationalLastLayer
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn

METHOD = Method(
    name="vbll",
    title="Variational last layer",
    reference="Harrison et al. 2024, arXiv 2404.11599",
    summary="a dense Gaussian for each class over a fresh head by a bound without draws, LoRA as a point",
    deviations=(
        "features come from a LoRA under a normal prior (MAP), and are standardised; in their units the prior is the paper's "
        "N(0, 2 / n); means start at zero; the bias is random, in place of noise on the logits under a Wishart prior, and adds "
        "as much to their variances; probabilities from 256 quasi-random draws of the logits instead of 20; steps and a "
        "temperature by held-out rows"
    ),
    adapter=Lora(r=8, alpha=16),
    guide=VariationalLastLayer(),
    latent_prior=FanIn(scale=1.0),
    point_prior=FanIn(scale=1.0),
    head_prior=FanIn(scale=2**0.5),
    train=FREE,
)
