"""BLoB: a mean-field posterior over LoRA's A, with Flipout for each example."""

from bayespeft.adapters.lora import Lora
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import FREE, Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="blob",
    title="BLoB",
    reference="Wang et al. 2024, arXiv 2406.11675",
    summary="mean-field posterior over LoRA's A, std = G^2, prior sd 0.2, Flipout",
    deviations=(
        "signs flip per example, not per token, so that a draw is one network; one objective and one optimiser; the KL "
        "has a constant, stated weight after a warm-up, 1 or, where held-out rows ask for it, 0.1 or 0.01; a fresh head gets a "
        "normal prior; a learning rate of 2e-3 at batch 16, for small data, instead of 1e-4 (1e-2 for the KL) at batch 4; "
        "held-out rows decide the number of steps, 5000 in the paper, and a temperature; no adapter on lm_head"
    ),
    adapter=Lora(r=8, alpha=16, latent=("A",)),
    guide=MeanField(noise="flipout", init_std=(0.05**2 / 2, 0.05**2), std="square"),
    latent_prior=Normal(scale=0.2),
    head_prior=FanIn(scale=3.0),
    # Slow spread: where std reaches the prior's before B has found the signal, the signal is lost.
    train=FREE.replace(variational_lr=1e-3),
)
