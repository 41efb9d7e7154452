"""IVON: a diagonal Gaussian whose precision is the curvature that a natural-gradient optimiser estimates as it trains.

Shen et al. 2024, arXiv 2402.17641; on LoRA: Cong et al. 2024, arXiv 2411.04421. Each step draws all factors from q, so that
with the ess N (the number of examples) it descends on the ELBO under the prior N(0, 1 / (N weight_decay)). At the end
std = 1 / sqrt(ess (h + weight_decay)). The optimiser is the authors' package `ivon-opt`.

h is a running mean of noisy estimates, one a step. Relative to an element's curvature c, the noise of one estimate is about
sqrt(ess / batch) where h has come down to c: gradients scatter by sqrt(c / batch), and a draw moves by 1 / sqrt(ess h). What is
averaged over P passes has a relative standard error of sqrt(ess / (N P)). A mean with constant decay has to choose between
noise and a start that it never forgets; one whose window grows with the run, decay 1 - 2 / (step + 20), forgets the start with
the square of the steps and still averages over three quarters of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field

from bayespeft.config import TrainConfig
from bayespeft.errors import ConfigError, MissingPackageError
from bayespeft.gaussians import Diagonal
from bayespeft.guides.base import Covers, GuideSpec, Joint, Problem, Trainer, Values
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.layers.factors import StackedFactor

# Before the fit every standard deviation is this.
_UNFITTED = 0.01
# The running mean has a growing window: its decay at step t is 1 - _ORDER / (t + _OFFSET).
_ORDER, _OFFSET = 2.0, 20.0
# The spread is an estimate if the curvature's relative standard error is at most _ERROR (measured: its correlation with the
# Gauss-Newton diagonal is .94 at an error of .29, and .79 at .41), and if hess_init has shrunk below _LEFT times weight_decay.
_ERROR, _LEFT = 1 / 3, 0.1
# The optimiser can't follow these settings of the training, so they must have the values at which they change nothing.
_NEUTRAL: dict[str, Any] = {
    "kl_weight": 1.0,
    "kl_warmup": 0.0,
    "kl_schedule": "constant",
    "kl_lr": None,
    "factor_lr": {},
}


class IvonGuide(GaussianGuide):
    """Independent normals, whose standard deviations are no parameters of AdamW's."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: Ivon) -> None:
        super().__init__(stacks)
        self.spec = spec
        for stack in stacks:
            self.register_buffer(f"std_{stack.name}", torch.full(stack.init.shape, _UNFITTED))

    def family(self, name: str) -> Diagonal:
        """N(mean, std^2) of a stack."""
        return Diagonal(self.loc[name], self.get_buffer(f"std_{name}"))

    def fit(self, trainer: Trainer) -> Any:
        """Train with IVON, from the initial values or from where the problem starts, and read mean and std from its state.

        Raises:
            ConfigError: a setting would be ignored, or a prior would count twice. MissingPackageError: `ivon-opt` is not
                installed.
        """
        problem = trainer.problem
        _check(problem)
        ess = float(self.spec.ess or len(problem.examples))
        optimiser = _optimiser(self.spec.beta2)
        if self.spec.verify:
            self._verify(problem, ess)
        made: list[tuple[Any, Values]] = []

        def make(point: Any) -> torch.optim.Optimizer:
            joint_guide: Joint = point.joint_guide
            train: TrainConfig = point.train
            parameters = joint_guide.latent.mean() | joint_guide.points.mean()
            head = {id(parameter) for parameter in joint_guide.head_parameters()}
            body = [parameter for parameter in parameters.values() if id(parameter) not in head]
            heads = [parameter for parameter in parameters.values() if id(parameter) in head]
            rates = self.spec.rates(train)
            groups = [
                {"params": body, "lr": train.lr},
                {"params": heads, "lr": rates.get("head_lr", train.lr)},
            ]
            own: torch.optim.Optimizer = optimiser(
                [group for group in groups if group["params"]],
                lr=train.lr,
                ess=ess,
                hess_init=self.spec.hess_init,
                beta1=self.spec.beta1,
                beta2=1 - _ORDER / (1 + _OFFSET) if self.spec.beta2 is None else self.spec.beta2,
                weight_decay=train.weight_decay,
                clip_radius=self.spec.clip_radius or float("inf"),
                rescale_lr=self.spec.rescale_lr,
            )
            made.append((own, parameters))
            return own

        values, history = trainer.train_point(problem.stacks, problem.seed, make=make)
        stds = _stds(*made[0])
        with torch.no_grad():
            for name, loc in self.loc.items():
                loc.copy_(values[name])
                self.get_buffer(f"std_{name}").copy_(stds[name])
        return history

    def _verify(self, problem: Problem, ess: float) -> None:
        """Refuse a run at whose end the spread would not be an estimate of the curvature."""
        train, n = problem.train, len(problem.examples)
        if isinstance(train.steps, str):
            raise ConfigError(
                f"steps='{train.steps}': IVON's precision is an average over a run of known length. Set epochs= or a number of "
                "steps."
            )
        batches = problem.examples.batch_count(train.batch_size)
        steps = train.total_steps(batches)
        per_epoch = train.steps_per_epoch(batches)
        # A step over more than a pass has one draw of the weights all the same, so that it counts as one.
        per_pass = max(1.0, per_epoch)
        numbers = sum(loc.numel() for loc in self.loc.values())
        # Half a nat for each number whose spread the data decides, against all that a label is worth.
        if problem.classes and (cost := numbers / (2 * ess)) > math.log(problem.classes):
            raise ConfigError(
                f"guide 'ivon' over {numbers:,} numbers with an effective sample size of {ess:,.0f}: their spread costs "
                f"{cost:.3g} nats per example, and a label is worth {math.log(problem.classes):.2g}, so q would fall back to "
                "its prior. Train fewer numbers (a smaller r, fewer layers), take more data or another method; 'ivon_official' "
                "has a larger ess, and the spread that it begins with; verify=False of the guide goes on."
            )
        window, left = self.spec.averaged(steps)
        error = math.sqrt(ess / n * per_pass / window)
        if error > _ERROR:
            need = math.ceil(ess / n * per_pass / _ERROR**2 * steps / window / per_epoch)
            raise ConfigError(
                f"guide 'ivon': {steps} steps, {steps / per_epoch:.3g} passes over the data, leave a relative standard error "
                f"of {error:.2g} in the curvature that is its precision; above {_ERROR:.2g} the spread says little. Set epochs "
                f"to at least {need}, or verify=False of the guide."
            )
        if (rest := self.spec.hess_init * left) > _LEFT * train.weight_decay:
            raise ConfigError(
                f"guide 'ivon': after {steps} steps {rest:.2g} is left of hess_init={self.spec.hess_init:g}, against "
                f"weight_decay={train.weight_decay:g}: the spread would be that of the start. Train for more steps, lower "
                "hess_init, leave beta2 out, or set verify=False of the guide."
            )


def _check(problem: Problem) -> None:
    """Refuse what IVON has no use for."""
    train = problem.train
    if train.clip:
        raise ConfigError(
            f"clip={train.clip}: IVON keeps the gradients that it takes at its draws, so clipping the norm would change "
            "nothing. Set clip=0, and clip_radius= of the guide if steps must be bounded."
        )
    for name, neutral in _NEUTRAL.items():
        if (value := getattr(train, name)) != neutral:
            raise ConfigError(
                f"{name}={value!r}: IVON's KL is in its optimiser, with weight 1 at every step and one rate for all factors: "
                f"this would be ignored. Set {name}={neutral!r}; the prior's precision is N times weight_decay."
            )
    proper = [stack for stack in problem.stacks if stack.role != "fixed" and stack.prior.proper]
    if proper:
        raise ConfigError(
            f"'{proper[0].name}' has the prior '{proper[0].prior.kind}', which would count beside IVON's own: that is "
            "N(0, 1/(N weight_decay)). Use flat priors, as method 'ivon' does."
        )


def _optimiser(beta2: float | None) -> Any:
    try:
        from ivon import IVON
    except ImportError:
        raise MissingPackageError(
            "guide 'ivon' trains with the package 'ivon-opt', which is not installed: pip install 'bayespeft[ivon]'"
        ) from None
    return IVON if beta2 is not None else _growing(IVON)


def _growing(base: Any) -> Any:
    """Return the optimiser with a running mean of h whose window grows with the run."""

    class GrowingWindow(base):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["beta2"] = 1 - _ORDER / (self.current_step + 1 + _OFFSET)
            return super().step(closure)

    return GrowingWindow


def _stds(optimiser: Any, parameters: Values) -> Values:
    """Return 1 / sqrt(ess (h + weight_decay)) by name, in the shapes of the parameters."""
    found = {}
    for group in optimiser.param_groups:
        std = (group["ess"] * (group["hess"] + group["weight_decay"])).rsqrt()
        sizes = [parameter.numel() for parameter in group["params"]]
        for parameter, part in zip(group["params"], torch.split(std, sizes), strict=True):
            found[id(parameter)] = part.reshape(parameter.shape)
    return {name: found[id(parameter)] for name, parameter in parameters.items()}


class Ivon(GuideSpec):
    """IVON's diagonal Gaussian over everything that is trained.

    The rates are `lr` and `head_lr` of the training, the prior's precision is N times its `weight_decay`, so priors must be
    flat; `clip` must be 0, and what weighs the KL or gives factors rates of their own must be left out.

    Attributes:
        hess_init: h at the start, per example: std starts at 1 / sqrt(ess (hess_init + weight_decay)).
        beta1: of the gradient's running mean.
        beta2: decay of h's running mean; None: one whose window grows with the run.
        ess: effective sample size; None: N, that of the ELBO. A larger one makes q narrower: the KL then has weight N / ess.
        clip_radius: bound on an element's preconditioned gradient; None for none.
        rescale_lr: `lr` is in units of the preconditioned step at the start, 1 / (hess_init + weight_decay).
        verify: refuse a run whose spread would not be an estimate of the curvature: one that is too short, that keeps its
            start, or whose numbers are too many for the data.
    """

    covers: ClassVar[Covers] = "trained"
    variational: ClassVar[bool] = False
    resumable: ClassVar[bool] = False
    hess_init: float = Field(default=0.1, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float | None = Field(default=None, ge=0, lt=1)
    ess: float | None = Field(default=None, gt=0)
    clip_radius: float | None = Field(default=None, gt=0)
    rescale_lr: bool = True
    verify: bool = True

    def rates(self, train: TrainConfig) -> dict[str, float]:
        """Return `lr`, and `head_lr` where it is set: a head learns at `lr` too unless somebody says otherwise."""
        return {"lr": train.lr, **({"head_lr": train.head_lr} if "head_lr" in train.model_fields_set else {})}

    def averaged(self, steps: int) -> tuple[float, float]:
        """Return how many steps' worth of estimates the running mean holds after a run, and the weight of its start."""
        decays = [1 - _ORDER / (t + _OFFSET) if self.beta2 is None else self.beta2 for t in range(1, steps + 1)]
        weight, total, squares = 1.0, 0.0, 0.0
        for decay in reversed(decays):
            own = weight * (1 - decay)
            total, squares, weight = total + own, squares + own**2, weight * decay
        return (total**2 / squares if squares else 0.0), weight

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> IvonGuide:
        """Means start at the factors' initial values; `generator` is not used."""
        return IvonGuide(stacks, self)


GUIDE = Ivon
