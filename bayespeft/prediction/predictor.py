"""Draws of the posterior to one predictive law per example: by sampling weights, or by linearising in them.

The likelihood says how draws are averaged: see `bayespeft.predictive`.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, SupportsIndex, get_args

import torch

from bayespeft.adapters.attach import frozen, mode
from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.errors import ConfigError
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.prediction.common_shape import CommonShape
from bayespeft.prediction.deciding import LOOKS, DecidingAverage, Mirrored, Undecided
from bayespeft.prediction.folding import Folding
from bayespeft.prediction.output_law import by_differences, output_laws
from bayespeft.prediction.passes import Passes
from bayespeft.prediction.rounds import SameRounds
from bayespeft.prediction.sampling import Noise, Replicates, Sampling
from bayespeft.predictive.average import Cost, Groups
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.categorical import CategoricalAverage
from bayespeft.utils.memory import PeakMemory
from bayespeft.utils.randomness import seeded
from bayespeft.variational.adapted import Adapted

# With draws="auto", ROUND draws are added at a time, up to MOST, and no error is believed that fewer than UNITS independent
# units give.
ROUND, MOST, UNITS = 8, 256, 8
# Draws of a Gaussian over K logits cost no pass of the network.
LOGIT_DRAWS = 256


@dataclass(frozen=True)
class Predictor:
    """Runs draws of an adapted network over data.

    Attributes:
        adapted: the network, its hooks switched on, and the posterior.
        temperature: divides the logits of each draw.
        shared: as for `Passes`.
    """

    adapted: Adapted
    temperature: float = 1.0
    shared: bool | Literal["draws"] = False

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature={self.temperature}: it divides logits, so a positive number is needed.")

    def run(
        self,
        examples: Examples,
        draws: int | Literal["auto", "decision"],
        seed: int,
        draws_per_pass: int | str = "auto",
        batch_size: int = 32,
        keep_draws: bool = False,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
    ) -> Prediction:
        """Predict every example with the same draws: draw d is one function for all of the data.

        Args:
            examples: the data.
            draws: how many; 0 is the posterior mean; "auto" goes on until the Monte Carlo error of the mean NLL is below
                `tolerance` (at most 256); "decision" until an example's most probable class is settled, see
                `bayespeft.prediction.deciding`. A guide without spread has nothing to draw, an ensemble has its members.
            seed: of the draws.
            draws_per_pass: draws folded into the batch axis at once, or "auto".
            batch_size: examples per pass.
            keep_draws: also return what each draw says.
            sampling: "plain", "antithetic" or "sobol"; see `bayespeft.prediction.sampling`.
            tolerance: standard error in nats, for draws="auto".

        Raises:
            ConfigError: draws < 0, or draws_per_pass < 1, or no such sampling. DataError: draws="auto" without labels.
            FitError: an output is not a number.
        """
        latent = self.adapted.joint_guide.latent
        if draws == "decision" and self.adapted.joint_guide.stochastic:
            return self._decided(examples, seed, draws_per_pass, batch_size, keep_draws, sampling)
        wanted = self.check(0 if draws == "decision" else draws, sampling, tolerance)
        auto = wanted is None
        noise = Noise(sampling, latent.noise_size, seed, replicates=auto)
        folding = Folding(draws_per_pass, ROUND if wanted is None else wanted, self.adapted.device)
        average = self.adapted.likelihood.average(len(examples), keep_draws)
        rounds = SameRounds() if auto else None
        # The members of an ensemble are all there are: no other seed would give others.
        unit = noise.unit if latent.members is None else None
        with self._measured(seed) as cost, torch.no_grad():
            while True:
                count = ROUND if wanted is None else wanted
                values = latent.transform(noise.take(count).to(self.adapted.device)) if count else {}
                average.begin(max(count, 1), Groups(unit or 1, latent.members))
                self._passes.run(examples.batches(batch_size), values, count, folding, average, rounds)
                if not auto:
                    break
                if average.labels is None:
                    raise missing_labels("draws='auto', which goes by the error of the NLL,")
                error = average.nll_error(unit)
                enough = unit is not None and average.draws >= UNITS * unit
                if average.draws >= MOST or (enough and error is not None and error <= tolerance):
                    break
        stated = average.draws if auto else count
        return average.result(Cost(stated, average.draws, cost.seconds, peak_memory_bytes=cost.peak_memory_bytes), unit)

    def _decided(
        self,
        examples: Examples,
        seed: int,
        draws_per_pass: int | str,
        batch_size: int,
        keep_draws: bool,
        sampling: Sampling,
    ) -> Prediction:
        """Draw for each example until its decision is settled; see `bayespeft.prediction.deciding`. Arguments as `run`."""
        latent = self.adapted.joint_guide.latent
        one_class = type(self.adapted.likelihood.average(0, False)) is CategoricalAverage
        if not one_class or latent.members is not None or sampling != "plain" or keep_draws:
            raise ConfigError(
                "draws='decision' stops at different draws for different examples: it is for one class of each example, a "
                "guide that is no ensemble, sampling='plain', and without keep_draws; give a number of draws."
            )
        average = DecidingAverage(len(examples))
        noise = Mirrored(Noise(sampling, latent.noise_size, seed))
        folding = Folding(draws_per_pass, LOOKS[0], self.adapted.device)
        rounds, waiting, passes = SameRounds(), torch.ones(len(examples), dtype=torch.bool), 0
        with self._measured(seed) as cost, torch.no_grad():
            for before, after in pairwise((0, *LOOKS)):
                values = latent.transform(noise.take(before, after).to(self.adapted.device))
                average.announce(after - before, waiting.nonzero()[:, 0])
                open_ones = Undecided(examples, waiting, rounds)
                self._passes.run(open_ones.batches(batch_size), values, after - before, folding, average)
                passes += (after - before) * int(waiting.sum())
                rows = waiting.nonzero()[:, 0]
                waiting[rows] = ~average.settled(rows, after)
                if not waiting.any():
                    break
        spent = -(-passes // max(len(examples), 1))
        return average.result(Cost(average.draws, spent, cost.seconds, peak_memory_bytes=cost.peak_memory_bytes))

    @property
    def backward_passes(self) -> int:
        """The most backward passes that a linearised prediction takes of one position of a batch."""
        return (self.adapted.classes or 1) - by_differences(self.adapted)

    @torch.inference_mode(False)
    def linearised(
        self,
        examples: Examples,
        seed: int,
        batch_size: int = 32,
        keep_draws: bool = False,
        draws: int = LOGIT_DRAWS,
        shape: CommonShape | None = None,
    ) -> Prediction:
        """Predict with the network linearised in the latents around their mean: outputs ~ N(f, J Sigma J^T).

        One forward pass and at most K backward passes instead of one forward pass for each draw (MacKay 1992; Immer et al.
        2021, arXiv 2008.08400). Exact where the outputs are linear in the latents. Probabilities of classes are averaged
        over draws of the logits, which cost no pass; a regression has a closed form.

        Args:
            examples: the data.
            seed: of the draws of logits.
            batch_size: examples per pass.
            keep_draws: also return the log-probabilities of each draw of the logits, where logits are drawn.
            draws: of the logits.
            shape: of covariances of logits; one backward pass then tells an example's from others.

        Raises:
            ConfigError: the posterior is no Gaussian. FitError: an output is not a number.
        """
        latent = self.adapted.joint_guide.latent
        if not isinstance(latent, GaussianGuide):
            raise ConfigError(
                f"prediction='linearised' needs a Gaussian posterior, {type(latent).__name__} is none: use "
                "prediction='sampled'."
            )
        average = self.adapted.likelihood.gaussian_average(len(examples), keep_draws, Replicates(seed, draws))
        most = 0
        with self._measured(seed) as cost, frozen(self.adapted.model):
            for law in output_laws(self.adapted, examples, batch_size, self.temperature, shape):
                average.add(law.mean, law.covariance, self._passes.rows(law.batch, law.mean.shape[-1]))
                most = max(most, law.passes)
        return average.result(most, cost.seconds, cost.peak_memory_bytes)

    @torch.inference_mode(False)
    def common_shape(self, examples: Examples, seed: int, batch_size: int = 32) -> CommonShape:
        """Return the shape that covariances of these examples' logits have; arguments as `linearised`."""
        with self._measured(seed), frozen(self.adapted.model):
            laws = output_laws(self.adapted, examples, batch_size, self.temperature)
            return CommonShape.of(torch.cat([law.covariance for law in laws]))

    def check(self, draws: int | str, sampling: str, tolerance: float) -> int | None:
        """Return the number of draws; None for "auto".

        Raises:
            ConfigError: they are no such number, there is no such sampling, or the tolerance is not positive.
        """
        if sampling not in get_args(Sampling):
            raise ConfigError(f"sampling={sampling!r}: {', '.join(get_args(Sampling))}.")
        if not tolerance > 0:
            raise ConfigError(f"tolerance={tolerance}: a Monte Carlo error in nats, above 0.")
        members = self.adapted.joint_guide.latent.members
        if isinstance(draws, str):
            if draws != "auto":
                raise ConfigError(
                    f"draws={draws!r}: a number, or 'auto'; 'decision' is for predict alone, with the network sampled and not "
                    "linearised."
                )
            return members if self.adapted.joint_guide.stochastic else 0
        if isinstance(draws, bool) or not isinstance(draws, SupportsIndex):
            raise ConfigError(f"draws={draws!r}: a whole number, or 'auto'; 0 predicts with the posterior mean.")
        draws = operator.index(draws)
        if draws < 0:
            raise ConfigError(
                f"draws={draws}: the number of draws can't be negative; 0 predicts with the posterior mean."
            )
        if not self.adapted.joint_guide.stochastic:
            return 0
        if members is not None and draws == 0:
            raise ConfigError(
                "draws=0 asks for the mean of the weights, which no member of an ensemble has: take draws=1."
            )
        return draws if members is None else min(draws, members)

    @property
    def _passes(self) -> Passes:
        return Passes(self.adapted, self.temperature, self.shared)

    @contextmanager
    def _measured(self, seed: int) -> Iterator[_Measured]:
        cost = _Measured()
        start = time.perf_counter()
        with mode(self.adapted.model), seeded(seed), PeakMemory(self.adapted.device) as memory:
            yield cost
        cost.seconds, cost.peak_memory_bytes = time.perf_counter() - start, memory.peak


@dataclass
class _Measured:
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
