"""Full fine-tuning, one block of the network at a time: what low memory costs where nothing is low-rank."""

from bayespeft.methods.base import Method
from bayespeft.methods.full import METHOD as FULL

METHOD: Method = FULL.replace(
    name="full_layerwise",
    title="Full, layer by layer",
    reference="Luo et al. 2024, arXiv 2404.02827 (BAdam)",
    summary="every linear layer's own weight and bias, block after block from the last to the first",
    deviations=(
        "each block is visited once and gets an equal share of the steps; the head is trained throughout; embeddings and "
        "norms stay as they were pretrained"
    ),
    # A block has few steps of its own: they have to be longer.
    train=FULL.train.replace(layers_at_once=1, lr=1e-4),
)
