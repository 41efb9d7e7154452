"""Me-LoRA with a full covariance whose prior scales, of C, A and B, are learned for each layer (empirical Bayes)."""

from bayespeft.methods.base import Method
from bayespeft.methods.melora import WARMED_UP
from bayespeft.methods.melora_full import METHOD as FULL
from bayespeft.priors.empirical_bayes import EmpiricalBayes

METHOD: Method = FULL.replace(
    name="melora_empirical_bayes",
    title="Me-LoRA, full covariance, learned scales",
    summary="full covariance over each core; the prior's scale learned for each layer",
    deviations=(
        "from Me-LoRA: C has a full covariance; the priors of C, A and B have a scale for each layer, the best one for q at "
        "each step under a hyper-prior around 0.4, worth 10 elements for C and 1000 for A and B (MAP); a fresh head gets a "
        f"normal prior; {WARMED_UP}; each example has its own draw of C"
    ),
    latent_prior=EmpiricalBayes(scale=0.4, strength=10),
    # Points have no width: a hyper-prior worth fewer elements than a layer has would let the scale fall to zero.
    point_prior=EmpiricalBayes(scale=0.4, strength=1000),
)
