"""The whole approximate posterior: the method's guide over latents, a point for everything else that is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.adapters.attach import LayerWeights
from bayespeft.errors import GuideError
from bayespeft.guides.base import Covers, Guide, GuideSpec, Noise
from bayespeft.guides.point import Point
from bayespeft.layers.factors import Role, StackedFactor
from bayespeft.layers.weights import Grouped, Shared, Weight
from bayespeft.variational.kl import check_kl
from bayespeft.variational.noise import spread

# The roles of the stacks that a guide is given, by what its settings say that it covers.
COVERED: dict[Covers, tuple[Role, ...]] = {
    "latent": ("latent",),
    "trained": ("latent", "point", "head"),
    "adapter": ("latent", "point"),
    "head": ("head",),
}
# What is amiss, and what to do, where it covers nothing.
NOTHING: dict[Covers, str] = {
    "latent": "the adapter has no latent factor. Choose another adapter, make a factor latent",
    "trained": "nothing is trained. Choose another adapter",
    "adapter": "the adapter trains nothing. Choose another one",
    "head": "the network has no freshly made head. Choose a method over the adapter's factors",
}

CPU = torch.device("cpu")


class JointGuide(nn.Module):
    """q over every stack, priors beside it, and the way from stacked values to the weights of each layer.

    It is made on the CPU, so that a seed means the same everywhere, and moved to its device. Fixed stacks are buffers: they
    are saved, moved and bound like the rest, but neither trained nor sampled.

    Attributes:
        resting: rows of stacks that training leaves alone for now: `training_weights` binds them without gradients.
    """

    def __init__(
        self, stacks: Sequence[StackedFactor], spec: GuideSpec, generator: torch.Generator, device: torch.device = CPU
    ) -> None:
        super().__init__()
        self.stacks = tuple(stacks)
        self.noise: Noise = spec.noise
        covered = COVERED[spec.covers]
        latent = [stack for stack in stacks if stack.role in covered]
        points = [stack for stack in stacks if stack.role not in (*covered, "fixed")]
        self.stochastic = spec.stochastic and bool(latent)
        if spec.stochastic and not latent:
            raise GuideError(
                f"guide '{spec.kind}' has nothing to be uncertain about: {NOTHING[spec.covers]}, or use a method with a point "
                "guide (mle, map)."
            )
        spec.check_memory(latent, device)
        self.latent: Guide = spec.build(latent, generator)
        self.points: Guide = Point().build(points, generator)
        self.random = frozenset(stack.name for stack in latent) if self.stochastic else frozenset[str]()
        self.sampled = [*latent, *points]
        self.resting: Mapping[str, frozenset[int]] = {}
        self.improper = frozenset(stack.name for stack in self.sampled if not stack.prior.proper)
        for stack in stacks:
            self.register_buffer(f"center_{stack.name}", stack.center.clone(), persistent=False)
            if stack.role == "fixed":
                self.register_buffer(f"fixed_{stack.name}", stack.init.clone())
        roles = {(stack.factor, stack.role) for stack in stacks}
        others = {factor for factor, role in roles if role == "latent"} - set(spec.needs)
        if spec.needs and (others or not set(spec.needs.items()) <= roles):
            wanted = ", ".join(f"{factor} ({role})" for factor, role in spec.needs.items())
            found = ", ".join(f"{factor} ({role})" for factor, role in sorted(roles))
            raise GuideError(
                f"guide '{spec.kind}' needs an adapter with the factors {wanted}; this one has {found}. Use the adapter of the "
                "method that is made for it (see bayespeft.methods())."
            )
        if spec.variational and self.random & self.improper:
            raise GuideError(
                f"guide '{spec.kind}' needs a proper prior on '{min(self.random & self.improper)}': under a flat one its "
                "spread would grow without bound. Set the method's latent_prior, or use guide='point'."
            )
        for stack in self.sampled:
            if stack.prior.needs_spread and stack.name not in self.random:
                raise GuideError(
                    f"the prior '{stack.prior.kind}' learns a scale from the spread of q, and '{stack.name}' is a point: its "
                    "scale would collapse. Give points another prior, such as Normal or EmpiricalBayes."
                )
        if spec.variational:
            self._check_kl(spec)
        self.to(device)

    def _check_kl(self, spec: GuideSpec) -> None:
        """Check that q has a KL to each proper prior, a formula unless guide or prior say that there may be none."""
        q = self.q()
        for stack in self.sampled:
            if stack.name in self.improper:
                continue
            try:
                prior = stack.prior.fitted(self.get_buffer(f"center_{stack.name}"), q[stack.name])
            except NotImplementedError as error:  # torch's way to say that a law has no such moment
                raise GuideError(
                    f"the prior '{stack.prior.kind}' learns a scale from mean and variance of q, and guide '{spec.kind}' has "
                    "none in closed form. Take a prior whose scale is given, such as Normal or FanIn."
                ) from error
            estimable = stack.name in self.random and not (spec.closed_form and stack.prior.closed_form)
            check_kl(stack.name, q[stack.name], prior, estimable=estimable)

    def q(self) -> dict[str, Distribution]:
        """Return q of every sampled stack, by name."""
        q = {**self.latent.q(), **self.points.q()}
        # Pyro wants the sites of model and guide in the same order.
        return {stack.name: q[stack.name] for stack in self.sampled}

    def priors(self) -> dict[str, Distribution]:
        """Return the prior of every sampled stack, by name."""
        q = self.q()
        return {
            stack.name: stack.prior.fitted(self.get_buffer(f"center_{stack.name}"), q[stack.name])
            for stack in self.sampled
        }

    def fixed(self) -> dict[str, Tensor]:
        """Return the values of fixed stacks."""
        return {stack.name: self.get_buffer(f"fixed_{stack.name}") for stack in self.stacks if stack.role == "fixed"}

    def mean(self) -> dict[str, Tensor]:
        """Return the mean of every stack (layers, ...)."""
        return {**self.latent.mean(), **self.points.mean(), **self.fixed()}

    def by_layer(self) -> dict[str, dict[str, Tensor]]:
        """Return copies of the mean of every factor: layer -> factor -> value."""
        mean = self.mean()
        values: dict[str, dict[str, Tensor]] = {}
        for stack in self.stacks:
            for layer, row in stack.rows.items():
                values.setdefault(layer, {})[stack.factor] = mean[stack.name][row].detach().clone()
        return values

    def center_buffers(self) -> dict[str, Tensor]:
        """Return where the priors of each stack are centered, (layers, ...)."""
        return {stack.name: self.get_buffer(f"center_{stack.name}") for stack in self.stacks}

    def centers(self) -> dict[tuple[str, str], Tensor]:
        """Return where the prior of each factor is centered, on the CPU, by layer and factor."""
        return {
            (layer, stack.factor): self.get_buffer(f"center_{stack.name}")[row].cpu()
            for stack in self.stacks
            for layer, row in stack.rows.items()
        }

    def _guide_of(self, stack: StackedFactor) -> Guide:
        return next(guide for guide in (self.latent, self.points) if stack.name in guide.mean())

    def variance(self, stack: StackedFactor) -> tuple[Tensor, float] | None:
        """Return the variance of a stack, as `Guide.variance`; None for one that is fixed."""
        return None if stack.role == "fixed" else self._guide_of(stack).variance(stack.name)

    def restart(self, stack: StackedFactor, means: Tensor, variance: Tensor | None) -> list[nn.Parameter]:
        """Give a stack other values; arguments as `Guide.restart`. Returns the parameters that hold it."""
        if stack.role == "fixed":
            self.get_buffer(f"fixed_{stack.name}").copy_(means)
            return []
        guide = self._guide_of(stack)
        guide.restart(stack.name, means, variance)
        return [p for name, p in guide.named_parameters() if name.rsplit(".", 1)[-1] == stack.name]

    def trainable(self) -> int:
        """Return the number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of freshly made heads."""
        heads = {stack.name for stack in self.stacks if stack.role == "head"}
        return [parameter for name, parameter in self.points.named_parameters() if name.rsplit(".", 1)[-1] in heads]

    def training_weights(self, values: dict[str, Tensor], batch: int) -> LayerWeights:
        """Bind one training draw: latents with the guide's noise mode, the rest shared, what rests without gradients.

        Args:
            values: sampled stacks by name, as the Pyro model drew them.
            batch: examples in the batch.
        """
        mean = self.latent.mean() if self.stochastic else {}
        values = {**values, **self.fixed()}
        # Once for all rows: the gradient of indexing one row is as large as the stack.
        rows = {name: value.unbind() for name, value in values.items() if name not in self.random}

        def weight(stack: StackedFactor, row: int) -> Weight:
            rests = row in self.resting.get(stack.name, ())
            if stack.name in self.random:
                value, around = values[stack.name], mean[stack.name]
                if rests:
                    value, around = value.detach(), around.detach()
                return spread(self.noise, value, around, row, batch)
            return Shared(rows[stack.name][row].detach() if rests else rows[stack.name][row])

        return self._per_layer(weight)

    def moment_weights(self) -> LayerWeights | None:
        """Bind moments of the random stacks, where the guide has them, and all others as they are trained; None where it has
        none."""
        moments = {stack.name: self.latent.moments(stack.name) for stack in self.stacks if stack.name in self.random}
        if not moments or any(own is None for own in moments.values()):
            return None
        # Once for all rows: the gradient of indexing one row is as large as the stack.
        values = {name: value.unbind() for name, value in {**self.points.mean(), **self.fixed()}.items()}

        def weight(stack: StackedFactor, row: int) -> Weight:
            own = moments.get(stack.name)
            if own is not None:
                return own[row]
            value = values[stack.name][row]
            return Shared(value.detach() if row in self.resting.get(stack.name, ()) else value)

        return self._per_layer(weight)

    def shared_weights(self, values: dict[str, Tensor]) -> LayerWeights:
        """Bind plain values (layers, ...) of every stack, shared by all rows: one network."""
        return self._per_layer(lambda stack, row: Shared(values[stack.name][row]))

    def folded_weights(self, draws: dict[str, Tensor], batch: int) -> LayerWeights:
        """Bind several draws at once, folded draw-major into the batch axis.

        Args:
            draws: random stacks as (draws, layers, ...); all others are taken from the mean.
            batch: examples in the batch, before folding.
        """
        mean = self.mean()

        def weight(stack: StackedFactor, row: int) -> Weight:
            if stack.name in draws:
                value = draws[stack.name][:, row]
                # One draw is one network, whatever a layer does with its rows.
                return Grouped(value, rows=len(value) * batch) if len(value) > 1 else Shared(value[0])
            return Shared(mean[stack.name][row])

        return self._per_layer(weight)

    def example_weights(self, values: dict[str, Tensor], once: Mapping[str, Weight] = {}) -> LayerWeights:
        """Bind values of the random stacks that differ by example, (batch, layers, ...); all others from the mean.

        Args:
            values: by stack.
            once: weights of stacks of one layer that are bound as they are, by stack.
        """
        mean = self.mean()

        def weight(stack: StackedFactor, row: int) -> Weight:
            if stack.name in once:
                return once[stack.name]
            if stack.name in values:
                value = values[stack.name]
                return Grouped(value[:, row], rows=len(value))
            return Shared(mean[stack.name][row].detach())

        return self._per_layer(weight)

    def _per_layer(self, weight: Callable[[StackedFactor, int], Weight]) -> LayerWeights:
        layers: dict[str, dict[str, Weight]] = {}
        for stack in self.stacks:
            # One weight for each row: layers that share a factor share its signs, too.
            weights = [weight(stack, row) for row in range(len(stack.init))]
            for layer, row in stack.rows.items():
                layers.setdefault(layer, {})[stack.factor] = weights[row]
        return layers
