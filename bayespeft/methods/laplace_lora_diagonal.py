"""Laplace-LoRA with a diagonal covariance: the exact diagonal of the Gauss-Newton matrix."""

from bayespeft.guides.laplace_diagonal import LaplaceDiagonal
from bayespeft.methods.base import Method
from bayespeft.methods.laplace_lora import METHOD as LAPLACE_LORA

METHOD: Method = LAPLACE_LORA.replace(
    name="laplace_lora_diagonal",
    title="Laplace-LoRA, diagonal",
    summary="diagonal Laplace around a LoRA and its head, linearised prediction",
    deviations=(
        "the exact diagonal of the Gauss-Newton matrix instead of that of its Kronecker approximation; the prior precision "
        "solves MacKay's equation instead of 100 steps of Adam; the point is trained under a normal prior"
    ),
    guide=LaplaceDiagonal(),
)
