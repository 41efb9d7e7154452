"""How it is uncertain: one variational family (or other posterior), one file."""

from typing import TYPE_CHECKING

from bayespeft import registry

if TYPE_CHECKING:
    from bayespeft.guides.base import (
        Guide as Guide,
        GuideSpec as GuideSpec,
        Noise as Noise,
        parameters_of as parameters_of,
    )
    from bayespeft.guides.dropout import Dropout as Dropout
    from bayespeft.guides.ensemble import Ensemble as Ensemble
    from bayespeft.guides.full_covariance import FullCovariance as FullCovariance
    from bayespeft.guides.ivon import Ivon as Ivon
    from bayespeft.guides.laplace_diagonal import LaplaceDiagonal as LaplaceDiagonal
    from bayespeft.guides.laplace_full import LaplaceFull as LaplaceFull
    from bayespeft.guides.laplace_kronecker import LaplaceKronecker as LaplaceKronecker
    from bayespeft.guides.laplace_last_layer import LaplaceLastLayer as LaplaceLastLayer
    from bayespeft.guides.low_rank import LowRank as LowRank
    from bayespeft.guides.matrix_normal import MatrixNormal as MatrixNormal
    from bayespeft.guides.mean_field import MeanField as MeanField
    from bayespeft.guides.mean_field_reversed import MeanFieldReversed as MeanFieldReversed
    from bayespeft.guides.point import Point as Point
    from bayespeft.guides.scale_mixture import ScaleMixture as ScaleMixture
    from bayespeft.guides.swag import Swag as Swag
    from bayespeft.guides.swag_adapter import SwagAdapter as SwagAdapter
    from bayespeft.guides.transformed import TransformedGuide as TransformedGuide
    from bayespeft.guides.training_free import TrainingFree as TrainingFree
    from bayespeft.guides.variational_last_layer import VariationalLastLayer as VariationalLastLayer
    from bayespeft.layers.factors import StackedFactor as StackedFactor
else:
    __getattr__, __dir__ = registry.exports(
        "guides",
        {
            "Guide": "bayespeft.guides.base",
            "GuideSpec": "bayespeft.guides.base",
            "Noise": "bayespeft.guides.base",
            "StackedFactor": "bayespeft.layers.factors",
            "TransformedGuide": "bayespeft.guides.transformed",
            "parameters_of": "bayespeft.guides.base",
        },
    )
