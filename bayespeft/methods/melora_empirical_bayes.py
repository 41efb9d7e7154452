"""Me-LoRA with a full covariance whose prior scales, of C, A and B, are learned for each layer (empirical Bayes)."""

from bayespeft.methods.base import Method
from bayespeft.methods.melora_full import METHOD as FULL
from bayespeft.priors.empirical_bayes import EmpiricalBayes

METHOD: Method = FULL.replace(
    name="melora_empirical_bayes",
    title="Me-LoRA, full covariance, learned scales",
    summary="full covariance over each core; the prior's scale learned for each layer",
    latent_prior=EmpiricalBayes(scale=0.4, strength=10),
    # Points have no width: a hyper-prior worth fewer elements than a layer has would let the scale fall to zero.
    point_prior=EmpiricalBayes(scale=0.4, strength=1000),
)
