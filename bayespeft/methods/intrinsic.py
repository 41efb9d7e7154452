"""Intrinsic dimension: the whole network's change in a random subspace of d dimensions, structure-aware (SAID)."""

from bayespeft.adapters.intrinsic import Intrinsic
from bayespeft.config import Targets, TrainConfig
from bayespeft.guides.point import Point
from bayespeft.methods.base import Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="intrinsic",
    title="Intrinsic dimension (SAID)",
    reference="Li et al. 2018, arXiv 1804.08838; Aghajanyan et al. 2020, arXiv 2012.13255",
    summary="one vector theta of d numbers for the whole network, projected at random to each layer's change",
    deviations=(
        "linear layers only, not embeddings, biases and norms; a fresh head is trained whole beside theta instead of through "
        "it; d counts theta alone, not the layers' scales"
    ),
    adapter=Intrinsic(d=1000, scale="layer"),
    guide=Point(),
    latent_prior=Flat(),
    targets=Targets(modules="all-linear"),
    train=TrainConfig(epochs=8, lr=1e-2),
)
