"""Me-LoRA with the settings that its paper prints, as far as it prints them. For reproduction only."""

from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.methods.melora import METHOD as MELORA
from bayespeft.priors.flat import Flat
from bayespeft.priors.randomised import Randomised

METHOD: Method = MELORA.replace(
    name="melora_paper",
    title="Me-LoRA (settings of the paper)",
    summary="Me-LoRA with std = G^2, one draw a batch, prior sd 0.2 + U(0, 1) drawn anew each step, no prior on A and B",
    deviations=(
        "rates, epochs and the initial G are this package's: 1e-3, eight epochs, and the G of BLoB; the KL has weight 1; no "
        "adapter on lm_head; the KL that is reported is its expectation over the prior's draws"
    ),
    guide=MeanField(noise="batch", init_std=(0.05**2 / 2, 0.05**2), std="square"),
    latent_prior=Randomised(scale=0.2, width=1.0),
    point_prior=Flat(),
    head_prior=Flat(),
    train=TrainConfig(epochs=8, lr=1e-3, variational_lr=1e-3),
)
