"""The Pyro model and guide of an adapted network, and the objective in nats per example.

model: each pack ~ its prior; the draw is bound to the hooks; the untouched network runs; labels ~ likelihood.
objective: E_q[mean NLL of the examples] + kl_weight * KL(q || prior) / N: with kl_weight 1 it is -ELBO / N.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.attach import Attachment
from bayespeft.config import TrainConfig
from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.inference.approximation import Approximation
from bayespeft.inference.kl import kl_terms
from bayespeft.inference.noise import PLATED
from bayespeft.likelihoods.base import Likelihood


@dataclass
class Problem:
    """All that inference needs to know of a network and its data.

    Attributes:
        model: the network, untouched.
        attachment: its hooks, switched on.
        approximation: q and the priors.
        likelihood: what the output means.
        examples: the training data.
        train: settings, complete.
        device: where the network runs.
        seed: of data order and noise.
        optimiser: runs the loop; set by whoever builds the problem, so that a guide can call it.
        classes: K, to check labels against; None where labels are no classes.
    """

    model: nn.Module
    attachment: Attachment
    approximation: Approximation
    likelihood: Likelihood
    examples: Examples
    train: TrainConfig
    device: torch.device
    seed: int
    optimiser: Callable[[Problem], Any]
    classes: int | None = None

    def __post_init__(self) -> None:
        self._elbo = TraceMeanField_ELBO()
        self._nll = torch.zeros(())

    def optimise(self) -> Any:
        """Run the loop on this problem and return its history."""
        return self.optimiser(self)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Run the base in bf16 where `precision` says so."""
        wanted = self.train.precision
        on = wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported())
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on):
            yield

    def logits(self, batch: Batch) -> Tensor:
        """Run the network as it is bound now; float32 logits."""
        with self.autocast():
            return self.likelihood.logits(self.model, batch)

    def _sample(self, sites: Mapping[str, Distribution], size: int, weight: float, plate: Any) -> dict[str, Tensor]:
        """Sample every pack; the same statement serves model and guide."""
        values = {}
        per_example = self.approximation.noise == PLATED
        for name, distribution in sites.items():
            plated = per_example and name in self.approximation.random
            with ExitStack() as stack:
                if name in self.approximation.improper or weight == 0:
                    stack.enter_context(poutine.mask(mask=False))
                else:
                    stack.enter_context(poutine.scale(scale=weight / size if plated else weight))
                if plated:
                    stack.enter_context(plate)
                values[name] = pyro.sample(name, distribution)
        return values

    def pyro_model(self, batch: Batch, weight: float) -> None:
        """Sample from the priors, run the network, observe the labels.

        Args:
            batch: on the device, with labels.
            weight: of the prior terms, per nat: kl_weight / N.
        """
        assert batch.labels is not None
        size = len(batch)
        plate = pyro.plate("examples", size, dim=-1)
        values = self._sample(self.approximation.priors(), size, weight, plate)
        self.attachment.bind(self.approximation.training_weights(values, size))
        likelihood = self.likelihood.distribution(self.logits(batch))
        self._nll = -likelihood.log_prob(batch.labels).mean().detach()
        with plate, poutine.scale(scale=1 / size):
            pyro.sample("labels", likelihood, obs=batch.labels)

    def pyro_guide(self, batch: Batch, weight: float) -> None:
        """Sample from q; arguments as `pyro_model`."""
        size = len(batch)
        self._sample(self.approximation.q(), size, weight, pyro.plate("examples", size, dim=-1))

    def loss(self, batch: Batch, kl_weight: float) -> tuple[Tensor, Tensor]:
        """Return one batch's estimate of the objective, and its mean NLL (detached); both in nats per example.

        The draw stays bound afterwards, for a backward pass that recomputes activations.
        """
        loss = self._elbo.differentiable_loss(self.pyro_model, self.pyro_guide, batch, kl_weight / len(self.examples))
        return loss, self._nll

    def prior_terms(self) -> tuple[float, float]:
        """Return KL of the latents, and -log prior of the points, in nats."""
        approximation = self.approximation
        proper = {name: prior for name, prior in approximation.priors().items() if name not in approximation.improper}
        terms = kl_terms(approximation.q(), proper)
        kl = sum(float(term) for name, term in terms.items() if name in approximation.random)
        return kl, sum(float(term) for term in terms.values()) - kl
