"""SWAG over what an adapter trains, a freshly made head being a point: where the snapshots' training left it."""

from __future__ import annotations

from typing import ClassVar, Literal

from bayespeft.guides.swag import Swag


class SwagAdapter(Swag):
    """Snapshots of the adapter's factors alone; settings as `swag`."""

    covers: ClassVar[Literal["latent", "trained", "adapter", "head"]] = "adapter"


GUIDE = SwagAdapter
