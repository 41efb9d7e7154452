"""ScalaBL as its official code trains it: KL(p || q) in place of KL(q || p), by BLoB's 2^i weights. For reproduction only."""

from bayespeft.guides.mean_field_reversed import MeanFieldReversed
from bayespeft.methods.base import Method
from bayespeft.methods.scalabl import METHOD as SCALABL
from bayespeft.priors.flat import Flat

METHOD: Method = SCALABL.replace(
    name="scalabl_official",
    title="ScalaBL (official objective)",
    summary="ScalaBL with the reversed KL and the cyclic 2^i weight of its code",
    deviations="one optimiser instead of two in turn; z itself is trained, not ln z; its objective is no ELBO",
    guide=MeanFieldReversed(noise="batch", init_std=(0.05 / 2**0.5, 0.05)),
    point_prior=Flat(),
    head_prior=Flat(),
    train=SCALABL.train.replace(kl_schedule="blob", kl_warmup=0.0),
)
