"""Last-layer Laplace: a LoRA and a head trained to their mode, then a full Laplace approximation over the head alone."""

from bayespeft.guides.laplace_last_layer import LaplaceLastLayer
from bayespeft.methods.base import Method
from bayespeft.methods.laplace_lora import METHOD as LAPLACE_LORA

METHOD: Method = LAPLACE_LORA.replace(
    name="laplace_last_layer",
    title="Last-layer Laplace",
    reference="Kristiadi et al. 2020, arXiv 2002.10118; Yang et al. 2023, arXiv 2308.13111 (LLLA)",
    summary="full Laplace over a freshly made head, LoRA as a point, linearised prediction",
    deviations=(
        "the head is the network's freshly made classifier, which a causal language model has not; the whole matrix over "
        "its weights and biases instead of Kronecker factors"
    ),
    guide=LaplaceLastLayer(),
)
