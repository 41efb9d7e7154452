"""Training's own path, once, before training: what moves the output must have a gradient, and the gradient must be right.

A network can cut gradients without a word: re-entrant checkpoints of blocks whose input needs none, kernels of quantised
weights that have no backward pass, a `torch.no_grad()` in somebody's forward. Training then moves nothing, or only what lies
above the cut, and ends well. So the adapters' output is differentiated as training will do it, at random values of all
factors (at LoRA's start B = 0 the gradient by A is zero by right), and compared with what the output does when they move.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayespeft.adapters.attach import LayerWeights, frozen, mode, recomputing
from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError, DataError
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.weights import Shared, Weight
from bayespeft.training.problem import Problem
from bayespeft.utils.randomness import seeded

# Directions in which the derivative is compared, and by what part of it the root mean square may be off. Along one direction a
# path that is cut shows by a normal deviate times the size of what it carried, so that of few directions most may show nothing.
# Curvature and kinks leave less than a hundredth; rounding, tenths.
DIRECTIONS, TOLERANCE, ROUGH_TOLERANCE = 16, 0.05, 0.3
# The first directions are enough where they agree as closely as this.
FIRST, AGREED = 4, 0.02
# How far to go, as the change of the output to be expected, relative to it: a network that rounds follows its derivative only
# over longer ways, and half precision rounds everything.
STEPS, LONG_STEPS, HALF_STEPS = (0.01, 0.001, 0.0001, 0.00001), (0.1, 0.5), (0.05, 0.2, 0.5)
# A row with a smaller part of the largest gradient moves the output less than others: it would have to go too far.
SMALLEST = 0.05

CUT = (
    "Part of the network passes no gradient on: re-entrant checkpointing (ask for use_reentrant=False, or switch the network's "
    "own off and take TrainConfig(checkpoint_activations=True)), a kernel for quantised weights without a backward pass (load "
    "the network anew and don't run it before the fit, or load it in another format), or a torch.no_grad() or detach() in its "
    "forward."
)

Row = tuple[str, int]


@dataclass(frozen=True)
class _Path:
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


def check_gradients(problem: Problem, batch: Batch) -> None:
    """Check that gradients arrive at every factor that the output depends on, on the path that training takes.

    Where an adapter's gradient is no derivative by intention (`Adapter.exact_gradient`), it is not compared with one, and a cut
    is found only where it lets nothing through.

    Args:
        problem: with its hooks switched on; neither it nor the network is changed.
        batch: a few training rows.

    Raises:
        AttachError: a factor moves the output and has no gradient, or one that is not finite.
    """
    path = _Path(problem, batch.to(problem.device), _somewhere(problem))
    with _as_training(problem):
        with _half_precision_fits(problem):
            found = path.gradients()
        _check_finite(problem, found)
        _check_arrived(path, [key for key, gradient in found.items() if gradient is None or not gradient.any()])
        if all(placement.adapter.exact_gradient for placement in problem.attachment.placements):
            if problem.autocast_dtype is not None:
                # What cuts a gradient cuts it in either precision, and one tells more.
                path = replace(path, cast=False)
                found = path.gradients()
            _compare(path, {key: gradient for key, gradient in found.items() if gradient is not None})
        problem.attachment.bind({})


@contextmanager
def reentrance_told() -> Iterator[None]:
    """Say what is amiss where the network's own re-entrant checkpoints go backward through the adapters' factors by parts.

    Such a block has a backward pass of its own, behind which the graph of what it shares with other blocks (rows of one stack,
    one draw) is gone. The check before training gives each row a leaf of its own, so that it can't see that.

    Raises:
        AttachError: a backward pass went through a graph for the second time.
    """
    try:
        yield
    except RuntimeError as error:
        if "backward through the graph a second time" not in str(error):
            raise
        raise AttachError(
            "the network recomputes activations by re-entrant checkpoints, whose blocks can't share the adapters' factors: "
            "ask for use_reentrant=False, or switch the network's own off and take TrainConfig(checkpoint_activations=True)."
        ) from None


@contextmanager
def _as_training(problem: Problem) -> Iterator[None]:
    train = problem.train
    with (
        torch.enable_grad(),
        frozen(problem.model),
        mode(problem.model, dropout=train.dropout),
        recomputing(problem.model, train.checkpoint_activations),
    ):
        yield


@contextmanager
def _half_precision_fits(problem: Problem) -> Iterator[None]:
    """Say what a network that runs by itself lacks where it fails under autocast."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, DataError) as error:
        # The probe before ran as the weights are stored, so that the data are not to blame.
        if problem.autocast_dtype is None:
            raise
        raise AttachError(
            f"{type(problem.model).__name__} can't run under autocast to bf16 ({str(error).splitlines()[0]}): set "
            "precision='float32', which runs it as its weights are stored."
        ) from None


def _somewhere(problem: Problem) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = {}
    for stack in problem.stacks:
        noise = 0.1 * torch.randn(stack.init.shape, generator=generator)
        values[stack.name] = (stack.init if stack.role == "fixed" else stack.init + noise).to(problem.device)
    return values


def _layers(problem: Problem, key: Row) -> list[str]:
    stack = next(stack for stack in problem.stacks if stack.name == key[0])
    return [layer for layer, row in stack.rows.items() if row == key[1]]


def _check_finite(problem: Problem, found: Mapping[Row, Tensor | None]) -> None:
    for key, gradient in found.items():
        if gradient is not None and not torch.isfinite(gradient).all():
            raise AttachError(
                f"the gradient at layer '{_layers(problem, key)[0]}' is not finite for the first rows, so training would fail: "
                "check the inputs, or run the network in float32."
            )


def _check_arrived(path: _Path, silent: list[Row]) -> None:
    """Raise if rows without a gradient move the output: a dead unit, or a softmax over one token, does not."""
    if not silent:
        return
    generator = torch.Generator().manual_seed(2)
    ways = {key: torch.randn(path.values[key[0]][key[1]].shape, generator=generator) for key in silent}
    ways = {key: way.to(path.problem.device) for key, way in ways.items()}
    step, least = (0.01, 1e-5) if path.exact else (1.0, 1e-2)
    with torch.no_grad():
        before = path.output({})

    def moves(keys: list[Row]) -> bool:
        after = path.moved({key: ways[key] for key in keys}, step)
        return bool((after - before).abs().max() > least * before.abs().max().clamp_min(1e-6))

    if not moves(silent):
        return
    cut = next((key for key in silent if moves([key])), silent[0])
    names = sorted({layer for key in silent for layer in _layers(path.problem, key)})
    more = f" ({len(names)} layers are without)" if names[1:] else ""
    raise AttachError(
        f"no gradient arrives at layer '{_layers(path.problem, cut)[0]}'{more} although the output moves with its adapter, so "
        f"training would leave it where it is. {CUT}"
    )


def _compare(path: _Path, gradients: Mapping[Row, Tensor]) -> None:
    """Raise if the derivative that training takes is not the one that the output has; warn where rounding may be to blame."""
    off, tolerance = _difference(path, gradients)
    if off <= tolerance:
        return
    message = (
        f"the gradient that training would take is not the derivative of the network's output: it is off by {off:.0%} along "
        f"random directions. {CUT}"
    )
    if path.exact:
        raise AttachError(message)
    warnings.warn(message, stacklevel=2)


def _difference(path: _Path, gradients: Mapping[Row, Tensor]) -> tuple[float, float]:
    """Return by what part derivative and differences of outputs are apart, at the step where they agree best, and may be.

    A direction moves every row about as much as every other one moves the output: a head would outweigh all layers below.
    """
    sizes = {key: gradient.double().norm().item() for key, gradient in gradients.items()}
    floor = SMALLEST * max(sizes.values(), default=0.0)
    if not floor:
        return 0.0, TOLERANCE
    scale = {key: max(size, floor) for key, size in sizes.items()}
    spread = sum((sizes[key] / scale[key]) ** 2 for key in sizes) ** 0.5
    with torch.no_grad():
        length = path.output({}).norm().item()

    def direction(number: int) -> dict[Row, Tensor]:
        generator = torch.Generator().manual_seed(number)
        return {key: torch.randn(g.shape, generator=generator).to(g) / scale[key] for key, g in gradients.items()}

    def off(number: int, step: float) -> float:
        way = direction(number)
        taken = sum((gradients[key].double() * way[key]).sum().item() for key in way)
        there, back = (path.projected(path.moved(way, sign * step).double()).item() for sign in (1, -1))
        return float(((there - back) / (2 * step) - taken) / spread)

    def differences(part: float) -> list[float]:
        step = part * length / spread
        found = [off(number, step) for number in range(FIRST)]
        return found if _size(found) <= AGREED else found + [off(number, step) for number in range(FIRST, DIRECTIONS)]

    def closest(parts: tuple[float, ...], tolerance: float) -> list[float]:
        best: list[float] = []
        for part in parts:
            found = differences(part)
            if not best or _size(found) < _size(best):
                best = found
            if _size(best) <= tolerance:
                break
        return best

    if not path.exact:
        return _size(closest(HALF_STEPS, ROUGH_TOLERANCE)), ROUGH_TOLERANCE
    near = closest(STEPS, TOLERANCE)
    if _size(near) <= TOLERANCE:
        return _size(near), TOLERANCE
    far = closest(LONG_STEPS, ROUGH_TOLERANCE)
    # A network whose differences are much the same near and far has a derivative, and that was not it; rounding leaves none.
    if _size([one - other for one, other in zip(near, far, strict=False)]) <= 0.75 * _size(near):
        return _size(near), TOLERANCE
    return _size(far), ROUGH_TOLERANCE


def _size(values: list[float]) -> float:
    """Return the root mean square."""
    return math.sqrt(sum(value**2 for value in values) / len(values))
