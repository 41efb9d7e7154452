"""Laplace over the cores: Me-LoRA's r x r cores are few enough for the full Gauss-Newton matrix of all layers together."""

from bayespeft.adapters.core import Core
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.methods.base import Method
from bayespeft.methods.map import METHOD as MAP

METHOD: Method = MAP.replace(
    name="laplace_core",
    title="Laplace over cores",
    reference="this package; Daxberger et al. 2021, arXiv 2010.14689 (subnetwork Laplace)",
    summary="full Laplace over all r x r cores C together, A, B and head as points, linearised prediction",
    deviations="the subnetwork is given by the adapter, not chosen by the marginal variances of a first approximation",
    adapter=Core(r=8, alpha=16),
    guide=LaplaceFull(),
)
