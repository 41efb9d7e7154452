"""Gaussians over a stack of layers: one family of covariances, one file."""

from bayespeft.gaussians.base import PackedGaussian, kl_by_layer
from bayespeft.gaussians.diagonal import Diagonal
from bayespeft.gaussians.full import Full
from bayespeft.gaussians.low_rank import LowRank
from bayespeft.gaussians.matrix_normal import MatrixNormal
from bayespeft.gaussians.rotated import Rotated
from bayespeft.gaussians.rows import Rows

__all__ = ["Diagonal", "Full", "LowRank", "MatrixNormal", "PackedGaussian", "Rotated", "Rows", "kl_by_layer"]
