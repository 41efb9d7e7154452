"""A function of several factors at once, whatever noise they carry: of one value of each, or of those of each group of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import vmap

from bayespeft.layers.weights import Grouped, Shared, Weight


def combined(f: Callable[[dict[str, Tensor]], Tensor], weights: Mapping[str, Weight]) -> Shared | Grouped:
    """Return f of the plain values of several weights as one weight: one value, or one for each group of rows.

    Args:
        f: a function of the values by name that torch.func.vmap can map. It runs in the precision of the values.
        weights: by name; groups, where there are any, are the same in each.

    Raises:
        GuideError: a weight is a mean with a deviation of random sign, which a function of the value does not keep.
    """
    found = {name: weight.values() for name, weight in weights.items()}
    values = {name: weight.value for name, weight in found.items()}
    groups = {name: 0 if isinstance(weight, Grouped) else None for name, weight in found.items()}
    rows = next((weight.rows for weight in reversed(found.values()) if weight.rows), None)
    device = next(iter(values.values())).device
    with torch.autocast(device.type, enabled=False):
        if all(group is None for group in groups.values()):
            return Shared(f(values))
        return Grouped(vmap(f, in_dims=(groups,))(values), rows)
