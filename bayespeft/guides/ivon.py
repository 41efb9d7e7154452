"""IVON: a diagonal Gaussian whose precision is the curvature that a natural-gradient optimiser estimates as it trains.

Shen et al. 2024, arXiv 2402.17641; on LoRA: Cong et al. 2024, arXiv 2411.04421. Each step draws all factors from q, so that
with the ess N (the number of examples) it descends on the ELBO under the prior N(0, 1 / (N weight_decay)). At the end
std = 1 / sqrt(N (h + weight_decay)). The optimiser is the authors' package `ivon-opt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from bayespeft.errors import ConfigError, MissingPackageError
from bayespeft.factors import Pack
from bayespeft.gaussians import Diagonal
from bayespeft.guides.base import GuideSpec, Problem, Values
from bayespeft.guides.gaussian import GaussianGuide

_UNFITTED = 0.01
# Settings of the training that the optimiser can't follow, at the values where there is nothing to follow.
_NEUTRAL: dict[str, Any] = {
    "kl_weight": 1.0,
    "kl_warmup": 0.0,
    "kl_schedule": "constant",
    "kl_lr": None,
    "factor_lr": {},
}


class IvonGuide(GaussianGuide):
    """Independent normals, whose standard deviations are no parameters of AdamW's."""

    def __init__(self, packs: Sequence[Pack], spec: Ivon) -> None:
        super().__init__(packs)
        self.spec = spec
        for pack in packs:
            self.register_buffer(f"std_{pack.name}", torch.full(pack.init.shape, _UNFITTED))

    def family(self, name: str) -> Diagonal:
        """N(mean, std^2) of a pack."""
        return Diagonal(self.loc[name], self.get_buffer(f"std_{name}"))

    def fit(self, problem: Problem) -> Any:
        """Train with IVON, from the initial values or from where the problem starts, and read mean and std from its state.

        Raises:
            ConfigError: a setting would be ignored, or a prior would count twice. MissingPackageError: `ivon-opt` is not
                installed.
        """
        _check(problem)
        optimiser = _optimiser()
        made: list[tuple[Any, dict[str, torch.nn.Parameter]]] = []

        def make(point: Any) -> torch.optim.Optimizer:
            approximation, train = point.approximation, point.train
            parameters = approximation.latent.mean() | approximation.points.mean()
            head = {id(parameter) for parameter in approximation.head_parameters()}
            body = [parameter for parameter in parameters.values() if id(parameter) not in head]
            heads = [parameter for parameter in parameters.values() if id(parameter) in head]
            groups = [
                {"params": body, "lr": train.lr},
                {"params": heads, "lr": train.head_lr if "head_lr" in train.model_fields_set else train.lr},
            ]
            own: torch.optim.Optimizer = optimiser(
                [group for group in groups if group["params"]],
                lr=train.lr,
                ess=len(point.examples),
                hess_init=self.spec.hess_init,
                beta1=self.spec.beta1,
                beta2=self.spec.beta2,
                weight_decay=train.weight_decay,
                clip_radius=self.spec.clip_radius or float("inf"),
            )
            made.append((own, parameters))
            return own

        values, history = problem.train_point(problem.packs, problem.seed, make=make)
        stds = _stds(*made[0])
        with torch.no_grad():
            for name, loc in self.loc.items():
                loc.copy_(values[name])
                self.get_buffer(f"std_{name}").copy_(stds[name])
        return history


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
    proper = [pack for pack in problem.packs if pack.role != "fixed" and pack.prior.proper]
    if proper:
        raise ConfigError(
            f"'{proper[0].name}' has the prior '{proper[0].prior.kind}', which would count beside IVON's own: that is "
            "N(0, 1/(N weight_decay)). Use flat priors, as method 'ivon' does."
        )


def _optimiser() -> Any:
    try:
        from ivon import IVON
    except ImportError:
        raise MissingPackageError(
            "guide 'ivon' trains with the package 'ivon-opt', which is not installed: pip install 'bayespeft[ivon]'"
        ) from None
    return IVON


def _stds(optimiser: Any, parameters: dict[str, torch.nn.Parameter]) -> Values:
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
        hess_init: h at the start, per example: std starts at 1 / sqrt(N (hess_init + weight_decay)).
        beta1: of the gradient's running mean.
        beta2: of h's running mean; h adapts over about 1 / (1 - beta2) steps.
        clip_radius: bound on an element's preconditioned gradient; None for none.
    """

    covers: ClassVar[Literal["latent", "trained", "head"]] = "trained"
    variational: ClassVar[bool] = False
    resumable: ClassVar[bool] = False
    hess_init: float = Field(default=10.0, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    clip_radius: float | None = Field(default=None, gt=0)

    def build(self, packs: Sequence[Pack], generator: torch.Generator) -> IvonGuide:
        """Means start at the factors' initial values; `generator` is not used."""
        return IvonGuide(packs, self)


GUIDE = Ivon
