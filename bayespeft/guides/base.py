"""What every guide offers. A guide knows stacks (shapes, initial values, priors), never what an adapter does with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal, Protocol

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.config import Plugin, TrainConfig
from bayespeft.data.examples import Examples
from bayespeft.errors import ConfigError, GuideError
from bayespeft.gaussians.outer import OuterCurvature
from bayespeft.layers.factors import Role, StackedFactor
from bayespeft.layers.weights import Weight
from bayespeft.predictive.base import Prediction
from bayespeft.utils.memory import free_memory

# How draws are spread over a batch in training: see `bayespeft.variational.noise`.
Noise = Literal["batch", "example", "flipout", "token"]
# Which stacks a guide is given: see `GuideSpec`.
Covers = Literal["latent", "trained", "adapter", "head"]
# The name of a stack -> its values (layers, ...).
Values = dict[str, Tensor]


class Derivative(Protocol):
    """What a batch says of the curvature: see `bayespeft.prediction.jacobian.Jacobian`."""

    def log_likelihood(self) -> Tensor:
        """Return log p(label | output), (rows,) float64, nats, as the objective weighs each row."""

    def roots(self) -> dict[str, Tensor | OuterCurvature]:
        """Return columns of a root of each example's Gauss-Newton matrix, (rows, K, layers, ...) by stack.

        Where stacks are separate: of the stack's own block, or the factors of that.
        """


class Problem(Protocol):
    """What is fitted: see `bayespeft.training.problem.Problem`."""

    @property
    def seed(self) -> int:
        """Seed of data order and noise."""

    @property
    def train(self) -> TrainConfig:
        """Settings, complete."""

    @property
    def examples(self) -> Examples:
        """The training data."""

    @property
    def classes(self) -> int | None:
        """K, or None where labels are no classes, or not yet known."""

    @property
    def stacks(self) -> tuple[StackedFactor, ...]:
        """Every stack, at its initial values: those that the guide covers, points, heads and fixed ones."""

    def fresh_stacks(self, seed: int) -> list[StackedFactor]:
        """Return the stacks with initial values drawn anew."""

    def adopt(self, values: Values) -> None:
        """Give the points that the guide does not cover these values."""

    def predict(self, draws: int, seed: int = 0) -> Prediction:
        """Return the averaged prediction of the training data."""

    def row_weights(self, prediction: Prediction) -> Tensor | None:
        """Return what the objective multiplies the log-likelihood of each row of a prediction by, (n,); None: by 1."""

    def jacobians(self, separate: bool = False) -> Iterator[Derivative]:
        """Yield logits and Jacobians at the guide's mean over the training data, some examples at a time.

        Args:
            separate: each stack's own block of the curvature is all that is asked for.
        """


class History(Protocol):
    """What happened during training: see `bayespeft.training.history.History`."""

    def then(self, later: Any) -> Any:
        """Return this history followed by another."""


class Joint(Protocol):
    """A guide of all stacks together while it trains: see `bayespeft.variational.joint_guide.JointGuide`."""

    latent: Guide
    points: Guide

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of freshly made heads."""


class Trainer(Protocol):
    """What a guide is given to fit itself: see `bayespeft.training.trainer.Trainer`."""

    @property
    def problem(self) -> Problem:
        """What is fitted."""

    def optimise(self) -> Any:
        """Run stochastic variational inference on the guide and return the history."""

    def point(self) -> tuple[Values, History]:
        """Return a point estimate of every stack, and its history: what post-hoc guides build on."""

    def train_point(
        self, stacks: Sequence[StackedFactor], seed: int, train: TrainConfig | None = None, **options: Any
    ) -> tuple[Values, History]:
        """Train a point estimate of these stacks from their initial values; return it and its history."""

    def part_noise(self, guide: Rescaled, log_likelihood: float) -> None:
        """Take what the guide spreads around the point off a noise of quantities that was given to that point's whole error."""


class Rescaled(Protocol):
    """A guide whose spread goes with the noise of quantities: see `bayespeft.guides.laplace.LaplaceGuide`."""

    def rescale(self, factor: float, log_likelihood: float) -> None:
        """Become what it would be with so many times the curvature, where the training data have this log likelihood."""


class Guide(nn.Module, ABC):
    """q over stacks. Its variational parameters are float32 `nn.Parameter`s that exist before the first step."""

    def __init__(self, stacks: Sequence[StackedFactor]) -> None:
        super().__init__()
        self.stacks = tuple(stacks)

    @abstractmethod
    def q(self) -> dict[str, Distribution]:
        """Return the distribution of each stack, by name, with every dimension an event dimension: (layers, ...).

        A guide that is fitted by the ELBO needs reparameterised draws, `rsample`; and, where its KL has no formula, the
        density of these, `log_prob`.
        """

    @abstractmethod
    def mean(self) -> dict[str, Tensor]:
        """Return the posterior mean of each stack, by name: (layers, ...); where it is not known, a point in its place."""

    @property
    def members(self) -> int | None:
        """How many draws there are at all, for an ensemble; None where they never end."""
        return None

    @property
    @abstractmethod
    def noise_size(self) -> int:
        """How many standard normals make one draw of all stacks."""

    @abstractmethod
    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Turn standard normals into draws, one for each row.

        Independent rows make independent draws; antithetic or quasi-random rows make draws that cover q more evenly.

        Args:
            noise: (n, noise_size), on the guide's device.

        Returns:
            Draws of each stack, by name: (n, layers, ...).
        """

    def draws(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return n draws of each stack: (n, layers, ...). The first k of n draws are the k draws of the same seed.

        Args:
            n: number of draws.
            generator: a CPU generator, so that a seed means the same draws on every device.
        """
        noise = torch.empty(n, self.noise_size)
        for row in noise:  # one by one: torch's stream of normals depends on how many are asked for
            row.normal_(generator=generator)
        return self.transform(self._here(noise))

    def draw(self, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return one draw of each stack, (layers, ...): that of this number among `draws`, without making the others."""
        if self.members is not None:
            return {name: values[number] for name, values in self.draws(number + 1, generator).items()}
        noise = torch.empty(1, self.noise_size)
        for _ in range(number + 1):  # earlier draws cost their normals alone
            noise[0].normal_(generator=generator)
        return {name: values[0] for name, values in self.transform(self._here(noise)).items()}

    def _here(self, noise: Tensor) -> Tensor:
        return noise.to(next(chain(self.parameters(), self.buffers()), noise))

    def moments(self, name: str) -> Sequence[Weight] | None:
        """Return, for each layer of a stack, a weight that gives mean and variance of outputs: see
        `bayespeft.layers.moments.GaussianWeight`.

        None, as for most guides: the objective is that of draws. A guide that has moments has them for each of its stacks, and
        the network ends with the layer that they belong to.
        """
        return None

    def spread(self) -> Iterable[nn.Parameter]:
        """Return the parameters that say how wide q is: they get `variational_lr` and no weight decay."""
        return ()

    def variance(self, name: str) -> tuple[Tensor, float] | None:
        """Return a stack's variance now, (layers, ...), and the one that a fit starts with; None for a guide without spread."""
        return None

    def restart(self, name: str, means: Tensor, variance: Tensor | None) -> None:
        """Go on training a stack from other values: its adapter merged what was learned and chose new factors.

        Args:
            name: of the stack.
            means: (layers, ...) where it starts again.
            variance: (layers, ...) what is carried over of `variance`; None where that is None.

        Raises:
            GuideError: the guide can't.
        """
        raise GuideError(f"{type(self).__name__} can't go on after its adapter merged into the weights.")

    def fit(self, trainer: Trainer) -> Any:
        """Fit to data and return the history: stochastic variational inference unless a guide overrides this."""
        return trainer.optimise()


class GuideSpec(Plugin, ABC):
    """The settings of a guide, and the way to build it.

    Attributes:
        noise: how draws are spread over a batch in training (see `bayespeft.variational.noise`).
        stochastic: it has a spread, so that draws differ.
        covers: the stacks it is given: "latent", those that the adapter calls latent; "trained", every trained stack, points
            and heads too; "adapter", every trained stack but heads; "head", freshly made heads alone.
        prediction: how its posterior predicts, unless the method or the user says otherwise.
        variational: q is fitted by maximising the ELBO; False for a guide that finds its spread after training a point.
        closed_form: its KL to normal priors is a formula, and that one is missing is an error. False: where none is
            registered, the KL is estimated by Monte Carlo (see `bayespeft.variational.kl`).
        symmetric: q stays the same law where any elements change the sign of their deviation from its mean: they are
            uncorrelated, and none is skewed. Only then may signs be flipped in training ("flipout", "token").
        restarts: it is fitted in one run that can go on from other values, as an adapter that merges asks for.
        discrete: it works with probabilities of classes only, not with densities.
        needs: factors that it can't do without, by name, and their roles; it then takes no other latent. Empty: any.
        remedy: what to do where it does not fit into memory.
        resumable: the state of its training is all in what a checkpoint holds.
        differentiates: it needs gradients even where it starts from a fitted posterior.
        curved: it needs the curvature of the likelihood, `Likelihood.curvature_root`.

    Raises:
        ConfigError: `noise` flips signs, and q is not symmetric.
    """

    room: ClassVar[str] = "guides"
    stochastic: ClassVar[bool] = True
    covers: ClassVar[Covers] = "latent"
    variational: ClassVar[bool] = True
    closed_form: ClassVar[bool] = True
    symmetric: ClassVar[bool] = False
    prediction: ClassVar[Literal["sampled", "linearised"]] = "sampled"
    restarts: ClassVar[bool] = False
    discrete: ClassVar[bool] = False
    needs: ClassVar[Mapping[str, Role]] = {}
    remedy: ClassVar[str] = ""
    resumable: ClassVar[bool] = True
    differentiates: ClassVar[bool] = True
    curved: ClassVar[bool] = False
    noise: Noise = "batch"

    @model_validator(mode="after")
    def _check_noise(self) -> GuideSpec:
        if not self.symmetric and self.noise in ("flipout", "token"):
            raise ConfigError(
                f"noise='{self.noise}' gives every example random signs, and sign flips kill the off-diagonal covariance, or "
                f"the skewness, that guide '{self.kind}' is there for. Use noise='example'."
            )
        return self

    def memory(self, stacks: Sequence[StackedFactor]) -> Mapping[str, int]:
        """Return the bytes of matrices over a stack's elements and of what finding them takes, by name; by default none."""
        return {}

    def check_memory(self, stacks: Sequence[StackedFactor], device: torch.device) -> None:
        """Check, before anything is allocated, that the guide fits into half of the memory that is free on a device.

        Args:
            stacks: what it is to cover.
            device: where it will be trained.

        Raises:
            GuideError: it doesn't; the message names the largest part and the bytes.
        """
        needs = self.memory(stacks)
        need, free = sum(needs.values()), free_memory(device)
        if need > free // 2:
            largest = max(needs, key=lambda name: needs[name])
            raise GuideError(
                f"guide '{self.kind}' would take {need:,} bytes for its matrices and what finding them takes "
                f"({needs[largest]:,} for '{largest}' alone), but {free:,} are free on {device}, of which it may take half. "
                f"{self.remedy}"
            )

    def rates(self, train: TrainConfig) -> dict[str, float]:
        """Return the peak learning rates that a training has, by setting, but those of single factors."""
        rates = {"lr": train.lr, "head_lr": train.head_lr, "variational_lr": train.variational_lr}
        return rates if train.kl_lr is None else {**rates, "kl_lr": train.kl_lr}

    @abstractmethod
    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> Guide:
        """Make the guide for these stacks, drawing initial values from `generator` (on the CPU)."""


def parameters_of(stacks: Iterable[StackedFactor]) -> nn.ParameterDict:
    """Return a float32 parameter per stack at its initial value."""
    return nn.ParameterDict({stack.name: nn.Parameter(stack.init.clone().float()) for stack in stacks})
