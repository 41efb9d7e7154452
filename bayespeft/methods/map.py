"""MAP: LoRA under a normal prior on its factors, the mode of the posterior."""

from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.guides.point import Point
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="map",
    title="MAP (LoRA)",
    reference="MacKay 1992, Neural Computation 4(3)",
    summary="LoRA under a normal prior on A and B: the mode of the posterior",
    adapter=Lora(r=8, alpha=16),
    guide=Point(),
    latent_prior=Normal(scale=0.4),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    train=TrainConfig(epochs=8, lr=1e-3, kl_warmup=0.5),
)
