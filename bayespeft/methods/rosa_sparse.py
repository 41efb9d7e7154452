"""RoSA: a sparse and a low-rank change of each weight, trained together by maximum likelihood."""

from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.config import Targets, TrainConfig
from bayespeft.guides.point import Point
from bayespeft.methods.base import Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="rosa_sparse",
    title="RoSA (sparse + low rank)",
    reference="Nikdan et al. 2024, arXiv 2401.04679",
    summary="W0 + S + s B A by maximum likelihood, S where one gradient was large after 64 steps of LoRA",
    deviations=(
        "the mask is from one gradient after 64 steps, as in the paper's code; on rows of SST-2 no other rule, a random mask "
        "among them, was better or worse by more than seeds differ (paper_repro/README.md); no LoRA dropout (0.05 in the "
        "paper); values are float32; a fresh head, which the paper's networks lack, is trained whole, at a rate of its own "
        "(head_lr); eight epochs, for small data, and a warm-up of 6 % of the steps instead of 20 steps"
    ),
    adapter=SparseLowRank(r=12, alpha=16, density=0.0015),
    guide=Point(),
    latent_prior=Flat(),
    targets=Targets(modules="all-linear"),
    train=TrainConfig(epochs=8, batch_size=32, lr=7e-4, factor_lr={"values": 2e-4}),
)
