"""The Pyro model and guide of an adapted network, and the objective in nats per example.

model: each stack ~ its prior; the draw is bound to the hooks; the untouched network runs; labels ~ likelihood.
objective: E_q[mean NLL of the examples] + kl_weight * KL(q || prior) / N: with kl_weight 1 it is -ELBO / N.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.adapters.attach import LayerWeights, frozen, mode
from bayespeft.config import TrainConfig
from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.errors import FitError, GuideError
from bayespeft.guides.base import Values
from bayespeft.layers.factors import StackedFactor
from bayespeft.prediction.jacobian import Jacobian, jacobians
from bayespeft.prediction.last_block import LastBlock
from bayespeft.prediction.predictor import Predictor
from bayespeft.predictive.base import Prediction
from bayespeft.training.kept_trunk import KeptTrunk
from bayespeft.variational.adapted import Adapted
from bayespeft.variational.kl import objective_kl
from bayespeft.variational.noise import PLATED
from bayespeft.variational.reported import PriorTerms, prior_terms

T = TypeVar("T")


class Restacking(Protocol):
    """Makes the stacks of a problem anew: see `bayespeft.fitting.stacking.Restacking`."""

    def stacks(self, seed: int) -> list[StackedFactor]:
        """Return the stacks at other initial values, everything else the same."""


@dataclass(eq=False, kw_only=True)
class Problem(Adapted):
    """An adapted network and its data: the Pyro model, its guide, and the objective.

    Attributes:
        examples: the training data.
        train: settings, complete.
        seed: of data order and noise.
        restacking: makes the stacks anew; None where nobody will ask for it.
        started: the stacks start at values that were fitted before, so post-hoc guides train no point of their own.
        random: layers whose own values are random, as those of a head that nobody has trained.
        amp: what a loop around the objective runs networks in (its autocast); it goes before precision="auto".
    """

    examples: Examples
    train: TrainConfig
    seed: int
    restacking: Restacking | None = None
    started: bool = False
    random: frozenset[str] = frozenset()
    amp: torch.dtype | None = None

    def __post_init__(self) -> None:
        self._elbo = TraceMeanField_ELBO()
        self._nll, self._logits = torch.zeros(()), torch.zeros(0)
        self._trunk: KeptTrunk | None = None

    @property
    def stacks(self) -> tuple[StackedFactor, ...]:
        """Every stack, at its initial values."""
        return self.joint_guide.stacks

    def fresh_stacks(self, seed: int) -> list[StackedFactor]:
        """Return the stacks with initial values drawn anew.

        Heads that are random are drawn anew, too, as wide as the network brought them; one that somebody trained is where all
        begin. Fixed stacks stay: every draw of a posterior shares them. So does all that an adapter found by decomposing a
        layer, whose fixed factors belong to it.
        """
        assert self.restacking is not None
        generator = torch.Generator().manual_seed(seed)
        decomposed = {p.layer.name for p in self.attachment.placements if p.adapter.decomposes}

        def fresh(stack: StackedFactor, own: StackedFactor) -> StackedFactor:
            if stack.role == "head" and stack.init.numel() > 1:
                noise = torch.randn(stack.init.shape, generator=generator)
                random = torch.tensor([layer in self.random for layer in stack.owners])
                if not random.any():
                    return own
                drawn = stack.init[random].std() * noise
                return replace(stack, init=torch.where(random.reshape(-1, *[1] * (noise.dim() - 1)), drawn, own.init))
            if stack.role in ("fixed", "head"):
                return own
            rows = zip(stack.owners, stack.init, own.init, strict=True)
            return replace(
                stack, init=torch.stack([before if layer in decomposed else new for layer, new, before in rows])
            )

        return [fresh(stack, own) for stack, own in zip(self.restacking.stacks(seed), self.stacks, strict=True)]

    def adopt(self, values: Values) -> None:
        """Give the points of the joint guide these values; values of other stacks are the latent guide's business."""
        with torch.no_grad():
            for name, parameter in self.joint_guide.points.mean().items():
                parameter.copy_(values[name])

    def predict(self, draws: int, seed: int = 0) -> Prediction:
        """Return the averaged prediction of the training data under the joint guide as it is now."""
        return Predictor(self).run(self.examples, draws, seed)

    def row_weights(self, prediction: Prediction) -> Tensor | None:
        """Return what the objective multiplies the log-likelihood of each row of a prediction by, (n,); None: by 1."""
        labels = getattr(prediction, "labels", None)
        return None if labels is None else self.likelihood.row_weights(labels)

    def jacobians(self, separate: bool = False) -> Iterator[Jacobian]:
        """Yield logits and their Jacobian by the random stacks at the mean, over the training data, in parts that fit.

        Args:
            separate: what is made of it goes stack by stack, so that some may come as factors.
        """
        with frozen(self.model), mode(self.model):
            yield from jacobians(self, self.examples, self.train.batch_size, separate)

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What the base runs in where `precision` says so; None: in what its weights are stored in."""
        wanted = self.train.precision
        if wanted == "auto" and self.amp is not None:
            return self.amp
        auto = wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        # Half precision of the other kind stays what it is: casting it would round once more.
        auto = auto and all(parameter.dtype != torch.float16 for parameter in self.model.parameters())
        return torch.bfloat16 if wanted == "bf16" or auto else None

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Run the base in bf16 where `precision` says so."""
        dtype = self.autocast_dtype
        with torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            yield

    def logits(self, batch: Batch) -> Tensor:
        """Run the network as it is bound now; float32 logits."""
        with self.autocast(), LastBlock(self).at_what_is_read(batch):
            logits = self._above_trunk(batch, lambda: self.likelihood.logits(self.model, batch))
        self.attachment.check_ran()
        return logits

    def _above_trunk(self, batch: Batch, run: Callable[[], T]) -> T:
        return run() if self._trunk is None else self._trunk.logits(batch, run)

    @contextmanager
    def trunk_kept(self) -> Iterator[None]:
        """Run what lies below the first adapted layer once for each example inside the block, which keeps its output.

        It is for a loop that knows the order of its batches: one that is taken up again has to `replay` them.
        """
        self._trunk = KeptTrunk(self, len(self.examples))
        try:
            yield
        finally:
            self._trunk = None

    @torch.no_grad()
    def replay(self, batches: Iterable[Batch]) -> None:
        """Pass over batches that a run had behind it, and keep of them what it kept, so that it goes on bit by bit."""
        for batch in batches:
            if self._trunk is not None and self._trunk.learns:
                moved = batch.to(self.device)
                self.attachment.bind(self.joint_guide.folded_weights({}, len(moved)))
                self.logits(moved)

    def _sample(self, sites: Mapping[str, Distribution], size: int, weight: float, plate: Any) -> dict[str, Tensor]:
        """Sample every stack; the same statement serves model and guide."""
        values = {}
        per_example = self.joint_guide.noise == PLATED
        for name, distribution in sites.items():
            plated = per_example and name in self.joint_guide.random
            with ExitStack() as stack:
                if name in self.joint_guide.improper or weight == 0:
                    stack.enter_context(poutine.mask(mask=False))
                else:
                    stack.enter_context(poutine.scale(scale=weight / size if plated else weight))
                if plated:
                    stack.enter_context(plate)
                values[name] = pyro.sample(name, distribution)
        return values

    def pyro_model(self, batch: Batch, weight: float, rows: float) -> None:
        """Sample from the priors, run the network, observe the labels.

        Args:
            batch: on the device, with labels.
            weight: of the prior terms, per nat: kl_weight / N.
            rows: what the sum of the examples' NLL is divided by.
        """
        assert batch.labels is not None
        size = len(batch)
        plate = pyro.plate("examples", size, dim=-1)
        values = self._sample(self.joint_guide.priors(), size, weight, plate)
        self.attachment.bind(self.joint_guide.training_weights(values, size))
        self._logits = self.logits(batch)
        likelihood = self.likelihood.distribution(self.likelihood.among(self._logits, batch))
        labels, weights = self.likelihood.observed(batch.labels), self.likelihood.row_weights(batch.labels)
        log_probs = likelihood.log_prob(labels).detach()
        self._nll = -(log_probs if weights is None else log_probs * weights).mean()
        with plate, ExitStack() as scaled:
            if weights is None:
                scaled.enter_context(poutine.scale(scale=1 / rows))
            else:
                # pyro takes no scale of 0.
                scaled.enter_context(poutine.mask(mask=weights > 0))
                scaled.enter_context(poutine.scale(scale=torch.where(weights > 0, weights, 1.0) / rows))
            pyro.sample("labels", likelihood, obs=labels)

    def pyro_guide(self, batch: Batch, weight: float, rows: float) -> None:
        """Sample from q; arguments as `pyro_model`."""
        size = len(batch)
        self._sample(self.joint_guide.q(), size, weight, pyro.plate("examples", size, dim=-1))

    def loss(self, batch: Batch, kl_weight: float, rows: float | None = None) -> tuple[Tensor, Tensor]:
        """Return one batch's estimate of the objective, and its mean NLL (detached); both in nats per example.

        Where the likelihood weighs rows, the NLL of each is multiplied by its weight in both.

        The draw stays bound afterwards, for a backward pass that recomputes activations.

        Args:
            batch: on the device, with labels.
            kl_weight: of KL / N.
            rows: what the sum of the examples' NLL is divided by; None: their number. With the mean size of a pass's batches
                every example counts the same, in whatever batch it is, and the mean over the pass is the objective.

        Raises:
            FitError: an output is not a number.
        """
        weight, rows = kl_weight / len(self.examples), len(batch) if rows is None else rows
        moments = self.joint_guide.moment_weights()
        if moments is not None:
            return self._expected_loss(batch, moments, kl_weight, rows), self._nll
        try:
            loss = self._elbo.differentiable_loss(self.pyro_model, self.pyro_guide, batch, weight, rows)
        except ValueError:
            # Laws refuse outputs that are no numbers, in words of their own. What failed before there were any says why itself.
            if len(self._logits):
                refuse_broken_rows(self._logits, batch)
            raise
        finally:
            self._logits = torch.zeros(0)
        return loss, self._nll

    def _expected_loss(self, batch: Batch, moments: LayerWeights, kl_weight: float, rows: float) -> Tensor:
        """Return the objective from means and variances of the outputs: nothing is drawn."""
        assert batch.labels is not None
        self.attachment.bind(moments)
        with self.autocast():
            mean, variance = self._above_trunk(batch, lambda: self.likelihood.moments(self.model, batch))
        self.attachment.check_ran()
        if self.classes is not None and mean.shape[-1] != self.classes:
            raise GuideError(
                f"{type(self.model).__name__} does something to what its head returns, so that means and variances of outputs "
                "don't pass: use 'laplace_last_layer'."
            )
        mean = self.likelihood.among(mean, batch)
        nll = -self.likelihood.expected_log_likelihood(mean, variance, self.likelihood.observed(batch.labels))
        weights = self.likelihood.row_weights(batch.labels)
        nll = nll if weights is None else nll * weights
        self._nll = nll.mean().detach()
        return nll.sum() / rows + self.prior_loss(kl_weight)

    def prior_loss(self, kl_weight: float) -> Tensor:
        """Return what `loss` adds to the mean NLL: kl_weight / N times the KL of latents and -log prior of points.

        It is a constant where every prior is flat, and of one draw where the KL has no formula.
        """
        q, priors = self.joint_guide.q(), self.joint_guide.priors()
        terms = [objective_kl(q[name], p) for name, p in priors.items() if name not in self.joint_guide.improper]
        total = torch.zeros((), device=self.device)
        for term in terms:
            total = total + term
        return total * (kl_weight / len(self.examples))

    def prior_terms(self) -> PriorTerms:
        """Return KL of the latents, and -log prior of the points, in nats, as they are reported."""
        return prior_terms(self.joint_guide)


def refuse_broken_rows(logits: Tensor, batch: Batch) -> None:
    """Check that outputs (n, ...) of training rows are numbers.

    Raises:
        FitError: the message names the first row for which they are not.
    """
    broken = ~torch.isfinite(logits.detach()).flatten(1).all(1)
    if bool(broken.any()):
        row = int(batch.index.to(broken.device)[broken][0])
        raise FitError(
            f"the network's output for training row {row} is not a number: check that row, lower lr or variational_lr, or "
            "set precision='float32'."
        )
