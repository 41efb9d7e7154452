"""Me-LoRA: a mean-field posterior over the r x r core C in W0 + s B C A; KL weight 1, the ELBO."""

from bayespeft.adapters.core import Core
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal

METHOD = Method(
    name="melora",
    title="Me-LoRA",
    reference="Me-LoRA, ICLR 2025 submission (withdrawn)",
    summary="mean-field posterior over the r x r core C in W0 + s B C A",
    deviations=(
        "A, B and a fresh head get a normal prior (MAP), since an unregularised B absorbs the scale of C and with it the "
        "KL; all prior terms are warmed up over half of the steps, or A and B collapse; the prior sd of C is 0.4, not "
        "0.2 + U(0, 1) drawn anew each step; standard deviations are exp(.) and start at 0.2, not G^2; each example has its "
        "own draw of C"
    ),
    adapter=Core(r=8, alpha=16),
    # Near the prior's width: from 0.05, a few hundred steps leave the spread far from where the ELBO wants it.
    guide=MeanField(noise="example", init_std=(0.2, 0.2), std="exp"),
    latent_prior=Normal(scale=0.4),
    point_prior=Normal(scale=0.4),
    head_prior=FanIn(scale=3.0),
    train=TrainConfig(epochs=8, lr=1e-3, variational_lr=1e-2, kl_warmup=0.5),
)
