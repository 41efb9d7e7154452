"""What has been merged into a network's own weights, layer by layer: enough to redo it, export it, or keep it apart.

Each merge is recorded by its low-rank factors, on the CPU, until they would take more room than the layer's weight;
from then on the weight itself is what is saved. Merges that change a network in place are counted: a posterior that was
fitted before them belongs to a network that is no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import AttachError, CheckpointError
from bayespeft.layers.layer import Layer

LowRank = tuple[Tensor, Tensor]

# The count is an attribute of the network itself, so that copies of it have it, too.
_TIMES = "_bayespeft_merges"


def times_merged(model: nn.Module) -> int:
    """Return how many merges have changed this network, or the one that it is a copy of, in place so far."""
    times: int = model.__dict__.get(_TIMES, 0)
    return times


def as_base(model: nn.Module, times: int = 0) -> None:
    """Have a network count as merged into so many times: by default never, whatever is in its weights."""
    model.__dict__.pop(_TIMES, None)
    if times:
        model.__dict__[_TIMES] = times


class Merged:
    """Changes of the weights of some layers, relative to the network that a fit was given.

    Attributes:
        changes: by layer, the left (m, k) and right (k, n) factors of each merge in order; None where they are no longer
            kept.
        weights: by layer, the changed weight as the module stores it, where the network keeps its original. Empty where
            merges went into the network in place.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        self.changes: dict[str, list[LowRank] | None] = {}
        self.weights: dict[str, Tensor] = {}
        self._model = model
        self._before: dict[str, tuple[Tensor, Tensor]] | None = None

    def keep_original(self, layers: Iterable[Layer]) -> None:
        """Have merges into these layers change a copy of the weight, which the network holds only while it is adapted."""
        for layer in layers:
            self.weights[layer.name] = layer.parameter.detach().clone()

    def merge(self, layer: Layer, left: Tensor, right: Tensor) -> None:
        """Add left (m, k) @ right (k, n) to a layer's weight, and record it.

        Raises:
            AttachError: the weight can't take it: see `Layer.check_mergeable`.
        """
        layer.check_mergeable()
        self._count(layer)
        layer.merge(left, right)
        known = self.changes.setdefault(layer.name, [])
        if known is None:
            return
        known.append((left.detach().cpu().clone(), right.detach().cpu().clone()))
        rank = sum(part.shape[1] for part, _ in known)
        if rank * (layer.in_features + layer.out_features) >= layer.in_features * layer.out_features:
            self.changes[layer.name] = None

    def _count(self, layer: Layer) -> None:
        """Take note that a layer of the network is about to change, if it is in place."""
        if layer.name in self.weights:
            return
        as_base(self._model, times_merged(self._model) + 1)
        if self._before is not None and layer.name not in self._before:
            self._before[layer.name] = layer.parameter, layer.parameter.detach().cpu().clone()

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Give the network its weights back, bit by bit, if the `with` block ends by an exception.

        From its first merge on, a copy of each layer's weight is kept on the CPU: subtracting what was added rounds.
        """
        self._before, times = {}, times_merged(self._model)
        try:
            yield
        except BaseException:
            with torch.no_grad():
                for parameter, value in self._before.values():
                    parameter.copy_(value)
            as_base(self._model, times)
            raise
        finally:
            self._before = None

    def low_rank(self, name: str) -> LowRank | None:
        """Return left (m, k) and right (k, n) of all that was merged into a layer, or None where that is no longer known."""
        known = self.changes.get(name)
        if not known:
            return None
        return torch.cat([left for left, _ in known], dim=1), torch.cat([right for _, right in known])

    @property
    def in_place(self) -> bool:
        """Whether the network itself was changed."""
        return bool(self.changes) and not self.weights

    def steps(self) -> dict[str, int | None]:
        """Return how many merges of each layer `state` holds; None where it holds the weight."""
        return {name: None if known is None else len(known) for name, known in self.changes.items()}

    def state(self, layers: Mapping[str, Layer]) -> dict[str, Tensor]:
        """Return tensors to save: the factors of each merge, or the weight where these are no longer kept."""
        tensors: dict[str, Tensor] = {}
        for name, known in self.changes.items():
            if known is None:
                weight = self.weights.get(name, layers[name].parameter)
                tensors[f"{name}/weight"] = weight.detach().cpu()
            for step, (left, right) in enumerate(known or ()):
                tensors[f"{name}/{step}/left"], tensors[f"{name}/{step}/right"] = left, right
        return tensors

    def redo(self, tensors: Mapping[str, Tensor], steps: Mapping[str, int | None], layers: Mapping[str, Layer]) -> None:
        """Do to a network what `state` tells, by the same operations in the same order; call it inside `applied`.

        Nothing is changed unless everything fits.

        Args:
            tensors: of `state`.
            steps: of `steps`.
            layers: the layers of the network, which has its original weights.

        Raises:
            CheckpointError: a tensor is missing, or belongs to no layer, or does not fit it.
            AttachError: a layer's weight can't take a merge: see `Layer.check_mergeable`.
        """
        expected = {}
        for name, count in steps.items():
            if name not in layers:
                raise CheckpointError(f"the saved changes name layer '{name}', which the network lacks.")
            m, n = layers[name].out_features, layers[name].in_features
            if count is None:
                expected[f"{name}/weight"] = tuple(layers[name].parameter.shape)
            for step in range(count or 0):
                rank = tensors[f"{name}/{step}/left"].shape[-1] if f"{name}/{step}/left" in tensors else 0
                expected |= {f"{name}/{step}/left": (m, rank), f"{name}/{step}/right": (rank, n)}
        for key in sorted({*expected, *tensors}):
            if key not in tensors or key not in expected or tuple(tensors[key].shape) != expected[key]:
                raise CheckpointError(
                    f"the saved changes of layer '{key.split('/')[0]}' are incomplete or damaged: '{key}'."
                )
        for name in steps:
            layers[name].check_mergeable()
        for name, count in steps.items():
            if count is None:
                self._set(layers[name], tensors[f"{name}/weight"])
            for step in range(count or 0):
                self.merge(layers[name], tensors[f"{name}/{step}/left"], tensors[f"{name}/{step}/right"])

    @torch.no_grad()
    def _set(self, layer: Layer, weight: Tensor) -> None:
        self._count(layer)
        layer.parameter.copy_(weight)
        self.changes[layer.name] = None

    def applied(self, layers: Iterable[Layer]) -> Swapped:
        """Give the network the changed weights inside a `with` block, where it keeps its original outside."""
        return Swapped([(layer.module, self.weights[layer.name]) for layer in layers if layer.name in self.weights])


class Swapped:
    """Weights of modules replaced for the length of a `with` block: pointers move, no number does."""

    def __init__(self, weights: list[tuple[nn.Module, Tensor]]) -> None:
        self._weights = weights
        self._before: list[Tensor] = []

    def __enter__(self) -> None:
        for module, weight in self._weights:
            parameter: Any = module.weight
            self._before.append(parameter.data)
            parameter.data = weight

    def __exit__(self, *error: object) -> None:
        for (module, _), before in zip(self._weights, self._before, strict=True):
            parameter: Any = module.weight
            parameter.data = before
        self._before.clear()


def check_untied(model: nn.Module, layers: Iterable[Layer]) -> None:
    """Check that merging into these layers changes nothing else.

    Raises:
        AttachError: a layer shares its weight with another module.
    """
    for name, other in tied(model, layers).items():
        raise AttachError(
            f"layer '{name}' shares its weight with '{other}', which a merge would change too. Leave it out of targets=."
        )


def tied(model: nn.Module, layers: Iterable[Layer]) -> dict[str, str]:
    """Return layer -> the name of another parameter that is its weight, for layers that share it."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    shared = {layer.name: owners.get(id(getattr(layer.module, "weight", None)), []) for layer in layers}
    return {
        name: next(other for other in names if other != f"{name}.weight")
        for name, names in shared.items()
        if len(names) > 1
    }
