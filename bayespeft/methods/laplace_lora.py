"""Laplace-LoRA: a LoRA trained to its mode, then a Kronecker-factored Laplace approximation around it."""

from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.methods.base import Method
from bayespeft.methods.map import METHOD as MAP

METHOD: Method = MAP.replace(
    name="laplace_lora",
    title="Laplace-LoRA",
    reference="Yang et al. 2023, arXiv 2308.13111",
    summary="Kronecker Laplace around a LoRA and its head, linearised prediction",
    deviations=(
        "Kronecker factors come from the exact Gauss-Newton root of each example (tokens are summed first, one Shampoo step "
        "towards the nearest Kronecker product) instead of K-FAC over tokens; both factors are kept whole, not the wide "
        "one's leading directions; the prior precision solves MacKay's equation instead of 100 steps of Adam; the point is "
        "trained under a normal prior"
    ),
    guide=LaplaceKronecker(),
)
