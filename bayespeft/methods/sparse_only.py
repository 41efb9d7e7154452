"""Sparse adaptation (SpA): RoSA without its low-rank part, at the same number of trained values."""

from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.methods.base import Method
from bayespeft.methods.rosa_sparse import METHOD as ROSA

METHOD: Method = ROSA.replace(
    name="sparse_only",
    title="SpA (sparse only)",
    summary="W0 + S by maximum likelihood, S where gradients of the base were large over 64 batches",
    deviations=(
        "the mask is made from gradients of the base over 64 batches, since there is no LoRA to warm up; values are float32; a "
        "fresh head is trained whole, at a rate of its own (head_lr); eight epochs, for small data"
    ),
    adapter=SparseLowRank(r=0, density=0.006, mask_steps=0, mask_gradients=64),
)
