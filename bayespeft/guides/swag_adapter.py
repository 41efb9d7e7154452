"""SWAG over what an adapter trains, a freshly made head being a point: where the snapshots' training left it."""

from __future__ import annotations

from typing import ClassVar

from bayespeft.guides.base import Covers
from bayespeft.guides.swag import Swag


class SwagAdapter(Swag):
    """Snapshots of the adapter's factors alone; settings as `swag`."""

    covers: ClassVar[Covers] = "adapter"


GUIDE = SwagAdapter
