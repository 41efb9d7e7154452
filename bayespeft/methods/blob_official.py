"""BLoB as its official code trains it: signs for each token, and the 2^i reweighting of the KL. For reproduction only."""

from bayespeft.methods.base import Method
from bayespeft.methods.blob import METHOD as BLOB
from bayespeft.priors.flat import Flat

METHOD: Method = BLOB.replace(
    name="blob_official",
    title="BLoB (official settings)",
    summary="BLoB with signs for each token and the cyclic 2^i weight of the KL, as its code does",
    deviations=(
        "one optimiser instead of AdamW and SGD in turn; its objective is no ELBO of one network; learning rates, epochs, "
        "batch size and layers are those of blob"
    ),
    guide=BLOB.guide.replace(noise="token"),
    head_prior=Flat(),
    train=BLOB.train.replace(kl_schedule="blob"),
)
