"""Me-LoRA with a full covariance under automatic relevance determination: the prior's scale is learned for each element."""

from bayespeft.methods.base import Method
from bayespeft.methods.melora_full import METHOD as FULL
from bayespeft.priors.ard import Ard

METHOD: Method = FULL.replace(
    name="melora_ard",
    title="Me-LoRA, full covariance, ARD",
    summary="full covariance over each core; the prior's scale learned for each element",
    deviations=(
        "from Me-LoRA: C has a full covariance, and its prior a scale for each element, the best one for q at each step; A, B "
        "and a fresh head get a normal prior (MAP); all prior terms are warmed up over 200 steps; each example has its "
        "own draw of C"
    ),
    latent_prior=Ard(),
)
