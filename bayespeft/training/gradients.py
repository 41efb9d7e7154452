"""Training's own path, once, before training: what moves the output must have a gradient, and the gradient must be right.

A network can cut gradients without a word: re-entrant checkpoints of blocks whose input needs none, kernels of quantised
weights that have no backward pass, a `torch.no_grad()` in somebody's forward. Training then moves nothing, or only what lies
above the cut, and ends well. So the adapters' output is differentiated as training will do it, at random values of all
factors (at LoRA's start B = 0 the gradient by A is zero by right), and compared with what the output does when they move.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from bayespeft.adapters.attach import frozen, mode, recomputing
from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError, DataError
from bayespeft.training.differences import difference, right_in_double
from bayespeft.training.path import Row, TrainingPath
from bayespeft.training.problem import Problem
from bayespeft.utils.warned import warn

CUT = (
    "Part of the network passes no gradient on: re-entrant checkpointing (ask for use_reentrant=False, or switch the network's "
    "own off and take TrainConfig(checkpoint_activations=True)), a kernel for quantised weights without a backward pass (load "
    "the network anew and don't run it before the fit, or load it in another format), or a torch.no_grad() or detach() in its "
    "forward."
)


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
    path = TrainingPath(problem, batch.to(problem.device), _somewhere(problem))
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


def _check_arrived(path: TrainingPath, silent: list[Row]) -> None:
    """Raise if rows without a gradient move the output: a dead unit, or a softmax over one token, does not.

    Nor does one that moves it by a jump alone, or not in the first order: attention that is all but a maximum.
    """
    if not silent:
        return
    generator = torch.Generator().manual_seed(2)
    ways = {key: torch.randn(path.values[key[0]][key[1]].shape, generator=generator) for key in silent}
    ways = {key: way.to(path.problem.device) for key, way in ways.items()}
    step, least = (0.01, 1e-5) if path.exact else (1.0, 1e-2)
    with torch.no_grad():
        before = path.output({})

    def moved(keys: list[Row], part: float = 1.0) -> float:
        return (path.moved({key: ways[key] for key in keys}, part * step) - before).abs().max().item()

    def moves(keys: list[Row]) -> bool:
        whole = moved(keys)
        if whole <= least * before.abs().max().clamp_min(1e-6):
            return False
        # Half precision rounds a tenth of the way off.
        return not path.exact or all(moved(keys, part) > 0.3 * part * whole for part in (0.1, 0.01))

    if not moves(silent):
        return
    cut = next((key for key in silent if moves([key])), silent[0])
    names = sorted({layer for key in silent for layer in _layers(path.problem, key)})
    more = f" ({len(names)} layers are without)" if names[1:] else ""
    raise AttachError(
        f"no gradient arrives at layer '{_layers(path.problem, cut)[0]}'{more} although the output moves with its adapter, so "
        f"training would leave it where it is. {CUT}"
    )


def _compare(path: TrainingPath, gradients: Mapping[Row, Tensor]) -> None:
    """Raise if the derivative that training takes is not the one that the output has; warn where rounding may be to blame."""
    off, tolerance = difference(path, gradients)
    if not math.isfinite(off):
        raise AttachError(
            "the network's output overflows for the first rows where its adapters move: check the inputs and the units of "
            "targets, or run the network in float32."
        )
    if off <= tolerance or (path.exact and right_in_double(path)):
        return
    message = (
        f"the gradient that training would take is not the derivative of the network's output: it is off by {off:.0%} along "
        f"random directions. {CUT}"
    )
    if path.exact:
        raise AttachError(message)
    warn(message)
