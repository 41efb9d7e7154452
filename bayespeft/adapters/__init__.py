"""What is learned: one adapter, one file."""

from typing import TYPE_CHECKING

from bayespeft import registry

if TYPE_CHECKING:
    from bayespeft.adapters.base import Adapter as Adapter, WarmUp as WarmUp, kaiming_rows as kaiming_rows
    from bayespeft.adapters.core import Core as Core
    from bayespeft.adapters.dora import Dora as Dora
    from bayespeft.adapters.frozen_core import FrozenCore as FrozenCore
    from bayespeft.adapters.full import Full as Full
    from bayespeft.adapters.head import Head as Head
    from bayespeft.adapters.intrinsic import Intrinsic as Intrinsic
    from bayespeft.adapters.lora import Lora as Lora
    from bayespeft.adapters.masked_lora import MaskedLora as MaskedLora
    from bayespeft.adapters.orthonormal_core import OrthonormalCore as OrthonormalCore
    from bayespeft.adapters.random_subspace import RandomSubspace as RandomSubspace
    from bayespeft.adapters.rank_one import RankOne as RankOne
    from bayespeft.adapters.scaled_rows import ScaledRows as ScaledRows
    from bayespeft.adapters.sparse_low_rank import SparseLowRank as SparseLowRank
    from bayespeft.adapters.subspace_core import SubspaceCore as SubspaceCore
    from bayespeft.adapters.vera import Vera as Vera
    from bayespeft.layers.factors import Factor as Factor
    from bayespeft.layers.layer import Layer as Layer
    from bayespeft.layers.weights import Weight as Weight
else:
    __getattr__, __dir__ = registry.exports(
        "adapters",
        {
            "Adapter": "bayespeft.adapters.base",
            "Factor": "bayespeft.layers.factors",
            "Layer": "bayespeft.layers.layer",
            "WarmUp": "bayespeft.adapters.base",
            "Weight": "bayespeft.layers.weights",
            "kaiming_rows": "bayespeft.adapters.base",
        },
    )
