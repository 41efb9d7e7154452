"""Me-LoRA with a full covariance under automatic relevance determination: the prior's scale is learned for each element."""

from bayespeft.methods.base import Method
from bayespeft.methods.melora import WARMED_UP
from bayespeft.methods.melora_full import METHOD as FULL
from bayespeft.priors.ard import Ard

METHOD: Method = FULL.replace(
    name="melora_ard",
    title="Me-LoRA, full covariance, ARD",
    summary="full covariance over each core; the prior's scale learned for each element",
    deviations=(
        "from Me-LoRA: C has a full covariance, and its prior a scale for each element, the best one for q at each step; A, B "
        f"and a fresh head get a normal prior (MAP); {WARMED_UP}; each example has its own draw of C"
    ),
    latent_prior=Ard(),
)
