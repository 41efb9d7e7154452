"""The way from the factors of adapters to the network's output, as training goes it, at values of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.adapters.attach import LayerWeights
from bayespeft.data.batch import Batch
from bayespeft.layers.dequantised import computes_in_half
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.weights import Shared, Weight
from bayespeft.training.problem import Problem
from bayespeft.utils.randomness import seeded

Row = tuple[str, int]


@dataclass(frozen=True)
class TrainingPath:
    """The way from factors to one number, as training goes it.

    Attributes:
        problem: with hooks switched on.
        batch: a few rows, on the device.
        values: stack -> (layers, ...), where the derivative is taken; fixed stacks as they are.
        cast: run in half precision where training does.
    """

    problem: Problem
    batch: Batch
    values: Mapping[str, Tensor]
    cast: bool = True

    @property
    def trained(self) -> list[StackedFactor]:
        """Those stacks that training changes."""
        return [stack for stack in self.problem.stacks if stack.role != "fixed"]

    def _bind(self, rows: Mapping[Row, Tensor]) -> None:
        layers: dict[str, dict[str, Weight]] = {}
        for stack in self.problem.stacks:
            for layer, row in stack.rows.items():
                value = rows.get((stack.name, row), self.values[stack.name][row])
                layers.setdefault(layer, {})[stack.factor] = Shared(value)
        weights: LayerWeights = layers
        self.problem.attachment.bind(weights)

    def output(self, rows: Mapping[Row, Tensor]) -> Tensor:
        """Return the outputs with these rows of stacks in the place of their values; the same dropout each time."""
        self._bind(rows)
        with seeded(self.problem.seed):
            if self.cast:
                return self.problem.logits(self.batch)
            return self.problem.likelihood.logits(self.problem.model, self.batch)

    @property
    def exact(self) -> bool:
        """Whether all runs in float32: differences of half precision are rounding."""
        casts = self.cast and self.problem.autocast_dtype is not None
        floats = (tensor for tensor in self.problem.model.parameters() if tensor.is_floating_point())
        return not casts and all(tensor.dtype in (torch.float32, torch.float64) for tensor in floats)

    @property
    def rounds(self) -> bool:
        """Whether an adapted layer computes in half precision inside, though all that comes and goes is float32."""
        layers = [placement.layer for placement in self.problem.attachment.placements]
        return any(layer.packed and computes_in_half(layer.module, layer.in_features) for layer in layers)

    def projected(self, outputs: Tensor) -> Tensor:
        """Return a random sum of outputs: one number that depends on all of them."""
        generator = torch.Generator().manual_seed(1)
        return (outputs * torch.randn(outputs.shape, generator=generator).to(outputs)).sum()

    def gradients(self) -> dict[Row, Tensor | None]:
        """Return the gradient by each row of each trained stack; None where none arrives."""
        leaves = {
            (stack.name, row): self.values[stack.name][row].detach().clone().requires_grad_()
            for stack in self.trained
            for row in range(len(stack.init))
        }
        number = self.projected(self.output(leaves))
        if number.requires_grad:
            # Not `torch.autograd.grad`, which re-entrant checkpoints refuse.
            torch.autograd.backward(number)
        return {key: leaf.grad for key, leaf in leaves.items()}

    @torch.no_grad()
    def moved(self, directions: Mapping[Row, Tensor], step: float) -> Tensor:
        """Return the outputs with rows moved by `step` times their directions."""
        return self.output({key: self.values[key[0]][key[1]] + step * way for key, way in directions.items()})
