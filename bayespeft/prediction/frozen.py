"""A posterior for serving: a plain module of PyTorch with so many draws in it, which takes a batch and gives probabilities.

No Pyro and no reading of data stand between a batch and its answer, and a call leaves no state behind: several threads may use
one module. Weights of the network are shared with the one that was fitted, not copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import LayerWeights
from bayespeft.adapters.base import Adapter
from bayespeft.data.batch import Batch, Inputs
from bayespeft.errors import ConfigError, DataError
from bayespeft.layers.layer import Layer, all_layers
from bayespeft.layers.weights import Grouped, Shared, Weight
from bayespeft.likelihoods.base import Likelihood
from bayespeft.predictive.average import log_mean


class FrozenAdapter(nn.Module):
    """One layer's adapter with its draws: buffers, and a forward hook on the layer.

    Args:
        adapter: what is done with the factors.
        layer: the layer.
        weights: of all draws, folded: each factor as (draws, ...) or shared.
    """

    def __init__(self, adapter: Adapter, layer: Layer, weights: Mapping[str, Weight]) -> None:
        super().__init__()
        self._adapter, self._layer = adapter, layer
        self._grouped = {name for name, weight in weights.items() if isinstance(weight, Grouped)}
        for name, weight in weights.items():
            assert isinstance(weight, (Grouped, Shared))
            self.register_buffer(name, weight.value.detach().clone())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the adapted output of inputs (rows, ..., in) and outputs (rows, ..., out) of the layer."""
        weights: dict[str, Weight] = {
            name: Grouped(value) if name in self._grouped else Shared(value) for name, value in self.named_buffers()
        }
        return self._adapter.apply(weights, x, y, self._layer)

    def hook(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        """Adapt the output of the layer: a forward hook."""
        adapted: Tensor = self(args[0] if args else next(iter(kwargs.values())), output)
        return adapted


class Frozen(nn.Module):
    """Averaged probabilities of so many draws, without a posterior: `frozen(**inputs)` or `frozen(x)` -> (n, K).

    `Posterior.freeze` makes it. Its `state_dict` is that of the network and of the draws.

    Args:
        network: a copy of the network, which no adapter is on; gets hooks.
        adapters: what is done at which of its layers.
        weights: of each layer, of all draws: each factor as (draws, ...) or shared.
        likelihood: what the network's output means.
        draws: how many there are.
        temperature: divides the logits of each draw.
        classes: how many the likelihood tells apart.

    Raises:
        ConfigError: labels are no classes.
    """

    def __init__(
        self,
        network: nn.Module,
        adapters: Mapping[str, Adapter],
        weights: LayerWeights,
        likelihood: Likelihood,
        draws: int,
        temperature: float,
        classes: int,
    ) -> None:
        super().__init__()
        if likelihood.class_log_probs(torch.zeros(1, classes)) is None:
            raise ConfigError(
                f"freeze gives one label's probabilities, and likelihood '{likelihood.kind}' speaks of something else: predict "
                "with the posterior."
            )
        self.draws, self.temperature, self._likelihood = draws, temperature, likelihood
        self.network, self.adapters = network, nn.ModuleList()
        layers = all_layers(network)
        for name, adapter in adapters.items():
            frozen = FrozenAdapter(adapter, layers[name], weights[name])
            layers[name].module.register_forward_hook(frozen.hook, with_kwargs=True, prepend=True)
            self.adapters.append(frozen)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        """Move or cast, torch's way behind `to`, `half`, and so on, without the network that was fitted."""
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        # Parameters that are overwritten are new ones: those that are shared would be changed where they are.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
        return self

    def forward(self, *args: Tensor, **inputs: Tensor) -> Tensor:
        """Return the averaged probabilities (n, K), float32.

        Args:
            args: one tensor (n, ...), for a network that takes one.
            inputs: keyword arguments of the network, each (n, ...).

        Raises:
            DataError: there is no input, or more than one tensor.
        """
        if len(args) + bool(inputs) != 1:
            raise DataError("a frozen posterior is called with one tensor, or with keyword arguments of the network.")
        given: Inputs = args[0] if args else inputs
        # `len` would make the number of rows a constant where the module is exported, and `shape` does not.
        rows = (args[0] if args else next(iter(inputs.values()))).shape[0]
        batch = Batch(given, None, torch.arange(rows)).repeat(self.draws)
        logits = self._likelihood.logits(self.network, batch).double() / self.temperature
        logits = self._likelihood.among(logits, batch)
        log_probs = self._likelihood.class_log_probs(logits)
        assert log_probs is not None
        log_probs = log_probs.reshape(self.draws, rows, log_probs.shape[-1])
        return log_mean(log_probs).exp().float()


def sharing_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its tensors."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
