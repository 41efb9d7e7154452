"""ROSA: a few random singular triplets of each weight, trained, merged, and chosen anew every epoch."""

from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.config import TrainConfig
from bayespeft.guides.point import Point
from bayespeft.methods.base import Method
from bayespeft.priors.flat import Flat

METHOD = Method(
    name="rosa_subspace",
    title="random subspace (ROSA)",
    reference="Hameed and Rabusseau 2023, ROSA: Random Orthogonal Subspace Adaptation",
    summary="r random singular triplets of each weight, trained by maximum likelihood, merged, chosen anew every epoch",
    deviations=(
        "the optimiser forgets its moments at a merge but the learning rate goes on falling, where the official code makes a "
        "new optimiser; triplets are a uniform subset, not the official contiguous window (triplets='window')"
    ),
    adapter=RandomSubspace(r=8),
    guide=Point(),
    latent_prior=Flat(),
    train=TrainConfig(epochs=8, lr=1e-3),
)
