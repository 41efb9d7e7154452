"""BLoB as its official code trains it: signs for each token, two optimisers, 2^i weights of the KL. For reproduction only."""

from bayespeft.config import TrainConfig
from bayespeft.methods.base import Method
from bayespeft.methods.blob import METHOD as BLOB
from bayespeft.priors.flat import Flat

METHOD: Method = BLOB.replace(
    name="blob_official",
    title="BLoB (official settings)",
    summary="BLoB with signs for each token, AdamW on the NLL and SGD on the KL in turn, cyclic 2^i weights, as its code",
    deviations=(
        "no adapter on lm_head; a run that is shorter than the paper's 5000 steps, or of another batch size, has another "
        "spread; its objective is no ELBO of one network"
    ),
    guide=BLOB.guide.replace(noise="token"),
    head_prior=Flat(),
    # scripts/blob/blob-llama-all.sh of Wang-ML-Lab/bayesian-peft.
    train=TrainConfig(
        steps=5000, batch_size=4, lr=1e-4, variational_lr=1e-4, kl_lr=0.01, kl_schedule="blob", warmup=0.06, clip=0.0
    ),
)
