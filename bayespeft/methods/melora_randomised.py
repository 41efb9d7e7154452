"""Me-LoRA with the paper's randomised prior of C, for the ablation: in expectation a fixed prior of another width."""

from bayespeft.methods.base import Method
from bayespeft.methods.melora import METHOD as MELORA
from bayespeft.methods.melora import WARMED_UP
from bayespeft.priors.randomised import Randomised

METHOD: Method = MELORA.replace(
    name="melora_randomised",
    title="Me-LoRA, randomised prior",
    summary="Me-LoRA whose prior sd of C is drawn anew each step, 0.2 + U(0, 1)",
    deviations=(
        "as melora, but for the prior of C, which is the paper's: A, B and a fresh head get a normal prior (MAP); "
        f"{WARMED_UP}; standard deviations are exp(.) and start at 0.2, not G^2; each example has its own draw of C; the KL "
        "that is reported is its expectation over the prior's draws"
    ),
    latent_prior=Randomised(scale=0.2, width=1.0),
)
