"""SWAG: a Gaussian through the moments of the iterates of a constant learning rate.

Maddox et al. 2019, arXiv 1902.02476; on LoRA: Onal et al. 2024, arXiv 2405.03425. After a point estimate is trained,
training goes on at a constant rate, and snapshots theta_i give a mean, variances diag, and the last K deviations
D_i = theta_i - mean_i from the running mean. Then q = N(mean, scale (diag + 1/(K - 1) D D^T)), scale 1/2 in the paper (eq. 1
and section 3.3): a draw is mean + std z_1 + F z_2 with std = sqrt(scale diag), F = D sqrt(scale / (K - 1)), and one z_2 for all
stacks and layers. Where there are fewer snapshots than `rank`, K is their number; the official code (wjmaddox/swa_gaussian)
divides by rank - 1 even then, which makes the low-rank part too narrow by (snapshots - 1) / (rank - 1).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bayespeft.config import TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.gaussians import LowRank
from bayespeft.guides.base import Covers, GuideSpec, Joint, Problem, Trainer, Values
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.layers.factors import StackedFactor

# Before the fit every standard deviation is _UNFITTED; after it none is below _LEAST, because a normal law needs a width even
# for a number that never moved.
_UNFITTED, _LEAST = 0.01, 1e-12


class Snapshots:
    """Running mean and sums of squared deviations in float64 (Welford), and the last deviations from the running mean.

    Args:
        rank: how many deviations are kept, in float32.
    """

    def __init__(self, rank: int) -> None:
        self.count = 0
        self.mean: Values = {}
        self._squares: Values = {}
        self._deviations: deque[Values] = deque(maxlen=rank)

    def add(self, values: Values) -> None:
        """Take a snapshot."""
        self.count += 1
        deviations = {}
        for name, value in values.items():
            new = value.detach().double()
            before = self.mean.get(name, torch.zeros_like(new))
            self.mean[name] = before + (new - before) / self.count
            deviations[name] = new - self.mean[name]
            self._squares[name] = self._squares.get(name, torch.zeros_like(new)) + (new - before) * deviations[name]
        self._deviations.append({name: deviation.float() for name, deviation in deviations.items()})

    def variance(self, name: str) -> Tensor:
        """Return the snapshots' variance (layers, ...): mean of squares minus square of the mean."""
        return self._squares[name] / self.count

    def deviations(self, name: str) -> Tensor:
        """Return the last deviations, (at most rank, layers, ...)."""
        return torch.stack([deviation[name] for deviation in self._deviations])


class SwagGuide(GaussianGuide):
    """Diagonal plus low rank, the low-rank part common to all stacks and layers.

    Noise: the elements of all stacks first, then the common directions.
    """

    separate: ClassVar[bool] = False

    def __init__(self, stacks: Sequence[StackedFactor], spec: Swag) -> None:
        super().__init__(stacks)
        self.spec = spec
        for stack in stacks:
            self.register_buffer(f"std_{stack.name}", torch.full(stack.init.shape, _UNFITTED))
            self.register_buffer(f"factor_{stack.name}", torch.zeros(spec.rank, *stack.init.shape))

    def family(self, name: str) -> LowRank:
        """Return what q says of each layer of a stack on its own; between layers the common directions correlate."""
        factor = self.get_buffer(f"factor_{name}").flatten(2).permute(1, 2, 0)
        return LowRank(self.loc[name], self.get_buffer(f"std_{name}"), factor)

    def std(self) -> dict[str, Tensor]:
        """Return the standard deviations of the single elements (layers, ...)."""
        return {
            name: (self.get_buffer(f"std_{name}").square() + self.get_buffer(f"factor_{name}").square().sum(0)).sqrt()
            for name in self.loc
        }

    @property
    def noise_size(self) -> int:
        """Every element, and K common directions."""
        elements: int = sum(loc.numel() for loc in self.loc.values())
        return elements + self.spec.rank

    def sqrt_matvec(self, noise: Tensor) -> dict[str, Tensor]:
        """Return std z_1 + F z_2 of noise (z_1, z_2); arguments and shapes as the base."""
        sizes = [loc.numel() for loc in self.loc.values()]
        *parts, common = torch.split(noise, [*sizes, self.spec.rank], dim=-1)
        return {
            name: self.get_buffer(f"std_{name}") * part.reshape(*part.shape[:-1], *loc.shape)
            + torch.tensordot(common, self.get_buffer(f"factor_{name}"), dims=1)
            for (name, loc), part in zip(self.loc.items(), parts, strict=True)
        }

    def sqrt_rmatvec(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Return (std g, sum over stacks of F^T g); arguments and shapes as the base."""
        own, common = [], []
        for name, loc in self.loc.items():
            gradient = gradients[name]
            own.append((self.get_buffer(f"std_{name}") * gradient).flatten(-loc.dim()))
            common.append(gradient.flatten(-loc.dim()) @ self.get_buffer(f"factor_{name}").flatten(1).T)
        return torch.cat([*own, torch.stack(common).sum(0)], dim=-1)

    def fit(self, trainer: Trainer) -> Any:
        """Train a point, unless the problem starts from one, then go on at a constant rate and collect snapshots.

        Raises:
            ConfigError: the settings give fewer than two snapshots.
        """
        problem = trainer.problem
        interval = self.spec.interval(problem)
        values, history = trainer.point()
        stacks = [replace(stack, init=values[stack.name].cpu()) for stack in problem.stacks]
        snapshots = Snapshots(self.spec.rank)

        def after(step: int, joint_guide: Joint) -> None:
            if step % interval == 0:
                snapshots.add(joint_guide.latent.mean() | joint_guide.points.mean())

        # The seed is another, so that the data come in another order than the point's.
        last, later = trainer.train_point(stacks, problem.seed + 1, self.spec.constant(problem.train), after=after)
        problem.adopt(last)  # what q does not cover is where the snapshots' training ended
        self.set_moments(snapshots)
        return history.then(later)

    @torch.no_grad()
    def set_moments(self, snapshots: Snapshots) -> None:
        """Take over the moments of snapshots (at least two) of every stack."""
        for name, loc in self.loc.items():
            loc.copy_(snapshots.mean[name])
            self.get_buffer(f"std_{name}").copy_((snapshots.variance(name) * self.spec.scale).sqrt().clamp_min(_LEAST))
            deviations = snapshots.deviations(name)
            factor = self.get_buffer(f"factor_{name}").zero_()
            factor[: len(deviations)].copy_(deviations * math.sqrt(self.spec.scale / (len(deviations) - 1)))


class Swag(GuideSpec):
    """Snapshots of training at a constant learning rate.

    Attributes:
        epochs: passes over the data at the constant rate.
        every: epochs between snapshots; at least one step.
        lr_factor: the constant rate, in units of the peak rates of the training before: it decides how far snapshots spread.
        rank: K, the deviations that are kept for the low-rank part.
        scale: of the covariance of the snapshots; 1/2 is the paper's, since variances and deviations each have it whole.
    """

    covers: ClassVar[Covers] = "trained"
    variational: ClassVar[bool] = False
    resumable: ClassVar[bool] = False
    epochs: float = Field(default=4.0, gt=0)
    every: float = Field(default=0.2, gt=0)
    lr_factor: float = Field(default=3.0, gt=0)
    rank: int = Field(default=20, ge=2)
    scale: float = Field(default=0.5, gt=0)

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> SwagGuide:
        """Means start at the factors' initial values; `generator` is not used."""
        return SwagGuide(stacks, self)

    def constant(self, train: TrainConfig) -> TrainConfig:
        """Return the settings of the snapshots' training: constant rates, the full weight of the priors, all layers."""
        factor_lr = {name: lr * self.lr_factor for name, lr in train.factor_lr.items()}
        return train.replace(
            steps=None, epochs=self.epochs, lr=train.lr * self.lr_factor, head_lr=train.head_lr * self.lr_factor,
            factor_lr=factor_lr, warmup=0.0,
            lr_schedule="constant", kl_warmup=0.0, average=0.0, layers_at_once=None,
        )  # fmt: skip

    def interval(self, problem: Problem) -> int:
        """Return the steps between snapshots.

        Raises:
            ConfigError: there would be fewer than two.
        """
        train, batches = self.constant(problem.train), problem.examples.batch_count(problem.train.batch_size)
        interval = max(1, round(self.every * train.steps_per_epoch(batches)))
        steps = train.total_steps(batches)
        if steps < 2 * interval:
            raise ConfigError(
                f"epochs={self.epochs} and every={self.every} give {steps // interval} snapshots of {steps} steps: a variance "
                "needs at least two. Raise epochs, or lower every."
            )
        return interval


GUIDE = Swag
