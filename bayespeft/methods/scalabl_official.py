"""ScalaBL as its official code trains it: KL(p || q) in place of KL(q || p), by BLoB's 2^i weights. For reproduction only."""

from bayespeft.guides.mean_field_reversed import MeanFieldReversed
from bayespeft.methods.base import Method
from bayespeft.methods.blob_official import METHOD as BLOB
from bayespeft.methods.scalabl import METHOD as SCALABL
from bayespeft.priors.flat import Flat

METHOD: Method = SCALABL.replace(
    name="scalabl_official",
    title="ScalaBL (official objective)",
    summary="ScalaBL with the reversed KL to a moved prior, two optimisers in turn and cyclic 2^i weights, as its code",
    deviations=(
        "z itself is trained, not ln z; no adapter on lm_head; its objective is no ELBO, and its prior N(u, (1 + u)^2), u "
        "being the initial standard deviations, is not the paper's"
    ),
    guide=MeanFieldReversed(noise="batch", init_std=(0.05 / 2**0.5, 0.05)),
    point_prior=Flat(),
    head_prior=Flat(),
    # conf/optim/vi.yaml of SRI-CSL/BayesAdapt.
    train=BLOB.train.replace(kl_lr=0.2),
)
