"""Full fine-tuning: every linear layer's own weight and bias by maximum likelihood, what adapters are measured against."""

from bayespeft.adapters.full import Full
from bayespeft.config import Targets, TrainConfig
from bayespeft.guides.point import Point
from bayespeft.methods.base import Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="full",
    title="Full fine-tuning",
    reference="Devlin et al. 2018, arXiv 1810.04805",
    summary="every linear layer's own weight and bias by maximum likelihood: one network, no posterior",
    deviations="embeddings and norms stay as they were pretrained; no weight decay, no dropout",
    adapter=Full(),
    guide=Point(),
    latent_prior=Flat(),
    targets=Targets(modules="all-linear"),
    # A fresh head has further to go than what was pretrained. More epochs than these overfit small data.
    train=TrainConfig(epochs=4, lr=2e-5),
)
