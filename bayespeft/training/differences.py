"""By what part the gradient that training takes is off the derivative of the output, along random directions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from bayespeft.training.path import Row, TrainingPath
from bayespeft.utils.memory import free_memory

# Directions in which the derivative is compared, and by what part of it the root mean square may be off. Along one direction a
# path that is cut shows by a normal deviate times the size of what it carried, so that of few directions most may show nothing.
# Curvature and kinks leave less than a hundredth; rounding, tenths.
DIRECTIONS, TOLERANCE, ROUGH_TOLERANCE = 16, 0.05, 0.3
# The first directions are enough where they agree as closely as this.
FIRST, AGREED = 4, 0.02
# How far to go, as the change of the output to be expected, relative to it: a network that rounds follows its derivative only
# over longer ways, and half precision rounds everything. One that chooses (experts, cells of a hash) jumps on all but the
# shortest ways, whose rounding is averaged over several of about that length.
STEPS, LONG_STEPS, HALF_STEPS = (0.01, 0.001, 0.0001, 0.00001, 0.000001), (0.1, 0.5), (0.05, 0.2, 0.5)
SHORTEST, LENGTHS = STEPS[-1], tuple(1 + number / 8 for number in range(8))
# In double precision rounding leaves room for shorter ones. Outputs are in single precision.
DOUBLE_STEPS = (0.0001, 0.00001, 0.000001)
# A row with a smaller part of the largest gradient moves the output less than others: it would have to go too far.
SMALLEST = 0.05


def difference(path: TrainingPath, gradients: Mapping[Row, Tensor]) -> tuple[float, float]:
    """Return by what part derivative and differences of outputs are apart, at the step where they agree best, and may be."""
    directions = _Directions(path, gradients)
    if not directions.floor:
        return 0.0, TOLERANCE
    if not path.exact:
        return _size(directions.closest(HALF_STEPS, ROUGH_TOLERANCE)), ROUGH_TOLERANCE
    near = directions.closest(STEPS, TOLERANCE)
    if _size(near) <= TOLERANCE:
        return _size(near), TOLERANCE
    if _size(near) <= ROUGH_TOLERANCE and path.rounds:
        return _size(near), ROUGH_TOLERANCE
    far = directions.closest(LONG_STEPS, ROUGH_TOLERANCE)
    # A network whose differences are much the same near and far has a derivative, and that was not it; rounding leaves none.
    if _size([one - other for one, other in zip(near, far, strict=False)]) <= 0.75 * _size(near):
        return _size(near), TOLERANCE
    return _size(far), ROUGH_TOLERANCE


def right_in_double(path: TrainingPath) -> bool:
    """Whether the gradient is the derivative once the network runs in double precision.

    What cuts a gradient cuts it there, too. A network with kinks everywhere (attention that is all but a maximum, experts)
    has its derivative only over ways that are too short for single precision. False where it can't run so.
    """
    if sum(tensor.nbytes for tensor in path.problem.model.parameters()) * 2 > free_memory(path.problem.device) // 2:
        return False
    inputs = path.batch.inputs
    given = inputs.double() if isinstance(inputs, Tensor) and inputs.is_floating_point() else inputs
    if not isinstance(given, Tensor):
        given = {name: value.double() if value.is_floating_point() else value for name, value in given.items()}
    values = {name: value.double() for name, value in path.values.items()}
    try:
        with _in_double(path.problem.model):
            double = replace(path, batch=replace(path.batch, inputs=given), values=values)
            found = {key: gradient for key, gradient in double.gradients().items() if gradient is not None}
            return _size(_Directions(double, found).closest(DOUBLE_STEPS, TOLERANCE)) <= TOLERANCE
    except Exception:  # whatever a network raises that takes no double precision
        return False


@contextmanager
def _in_double(model: nn.Module) -> Iterator[None]:
    """Give a network its numbers in double precision inside the `with` block: pointers move, and come back."""
    before = [
        (tensor, tensor.data)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.dtype == torch.float32 and not is_traceable_wrapper_subclass(tensor)
    ]
    try:
        for tensor, data in before:
            tensor.data = data.double()
        yield
    finally:
        for tensor, data in before:
            tensor.data = data


class _Directions:
    """Random ways from the values of a path.

    A direction moves every row about as much as every other one moves the output: a head would outweigh all layers below.
    """

    def __init__(self, path: TrainingPath, gradients: Mapping[Row, Tensor]) -> None:
        self._path, self._gradients = path, gradients
        sizes = {key: gradient.double().norm().item() for key, gradient in gradients.items()}
        self.floor = SMALLEST * max(sizes.values(), default=0.0)
        if not self.floor:
            return
        self._scale = {key: max(size, self.floor) for key, size in sizes.items()}
        self._spread = sum((sizes[key] / self._scale[key]) ** 2 for key in sizes) ** 0.5
        with torch.no_grad():
            self._length = path.output({}).norm().item()

    def closest(self, parts: tuple[float, ...], tolerance: float) -> list[float]:
        """Return how far apart both are in each direction, at the first step where they agree, or the best one."""
        best: list[float] = []
        for part in parts:
            found = self._differences(part)
            if not best or _size(found) < _size(best):
                best = found
            if _size(best) <= tolerance:
                break
        return best

    def _differences(self, part: float) -> list[float]:
        step = part * self._length / self._spread
        lengths = LENGTHS if part == SHORTEST else (1.0,)

        def off(number: int) -> float:
            return sum(self._off(number, length * step) for length in lengths) / len(lengths)

        found = [off(number) for number in range(FIRST)]
        return found if _size(found) <= AGREED else found + [off(number) for number in range(FIRST, DIRECTIONS)]

    def _off(self, number: int, step: float) -> float:
        generator = torch.Generator().manual_seed(number)
        way = {
            key: torch.randn(gradient.shape, generator=generator).to(gradient) / self._scale[key]
            for key, gradient in self._gradients.items()
        }
        taken = sum((self._gradients[key].double() * way[key]).sum().item() for key in way)
        path = self._path
        there, back = (path.projected(path.moved(way, sign * step).double()).item() for sign in (1, -1))
        return float(((there - back) / (2 * step) - taken) / self._spread)


def _size(values: list[float]) -> float:
    """Return the root mean square."""
    return math.sqrt(sum(value**2 for value in values) / len(values))
