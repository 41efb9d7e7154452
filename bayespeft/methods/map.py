"""MAP: LoRA under a normal prior on its factors, the mode of the posterior."""

from bayespeft.adapters.lora import Lora
from bayespeft.guides.point import Point
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn

METHOD = Method(
    name="map",
    title="MAP (LoRA)",
    reference="MacKay 1992, Neural Computation 4(3)",
    summary="LoRA under a normal prior on A and B: the mode of the posterior",
    adapter=Lora(r=8, alpha=16),
    guide=Point(),
    latent_prior=FanIn(scale=1.0),
    point_prior=FanIn(scale=1.0),
    head_prior=FanIn(scale=3.0),
    train=FREE,
)
