"""Whether a training state, which is the one that was written, is one that this run can go on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bayespeft.errors import BayesPeftError, CheckpointError


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Tell in our words what goes wrong in a `with` block that takes a state up.

    Raises:
        CheckpointError: an entry is missing, or is of another kind, size or number than this run's.
    """
    try:
        yield
    except BayesPeftError:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"'{path}' is a state of this fit, but what it holds can't be used ({why:.200}): delete it to start anew."
        ) from None


def check_state(
    state: Mapping[str, Any], own: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, total: int, merges: bool
) -> None:
    """Check what would otherwise be taken up without a word.

    Args:
        state: as it was read.
        own: the tensors of the joint guide, by name.
        optimiser: of this run.
        total: steps of this run.
        merges: whether this run merges into the network's weights.

    Raises:
        ValueError, KeyError, TypeError: the count, a shape, a dtype or a number is none of this run.
    """
    done = state["done"]
    if type(done) is not int or not 0 <= done <= total or type(state["ended"]) is not bool:
        raise ValueError(f"{done!r} steps are done of {total}")
    for name in ("merged", "merged_steps"):
        if not isinstance(state[name], dict) or (state[name] and not merges):
            raise ValueError(f"{name} is {state[name]!r:.40}")
    for named in (state["joint_guide"], state["best"]):
        for name, value in named.items():
            _alike(name, value, own[name])
    for name, value in state["centers"].items():
        _alike(name, value, value)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for index, entries in state["optimiser"]["state"].items():
        for name, value in entries.items():
            if not isinstance(value, (Tensor, int, float)):
                raise TypeError(f"{name} {index} is {value!r:.40}")
            if isinstance(value, Tensor) and value.dim():
                _alike(f"{name} {index}", value, parameters[index])


def _alike(name: str, value: Tensor, own: Tensor) -> None:
    if value.shape != own.shape or value.dtype != own.dtype:
        raise ValueError(f"{name} is {value.dtype} of shape {tuple(value.shape)}")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise ValueError(f"{name} is not finite")
