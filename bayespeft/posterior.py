"""A fitted posterior over adapter factors: predict, report, save."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from bayespeft import registry
from bayespeft.attach import Attachment, Placement, SiteWeights
from bayespeft.data.examples import Examples
from bayespeft.data.load import load as load_rows
from bayespeft.data.prepare import Padding, prepare
from bayespeft.errors import ConfigError, DataError
from bayespeft.inference.approximation import Approximation
from bayespeft.inference.history import History
from bayespeft.inference.predict import Predictive, Predictor
from bayespeft.inference.sampling import Sampling
from bayespeft.inference.summary import Summary, summarise
from bayespeft.inference.temperature import fit_temperature
from bayespeft.inference.weight_covariance import WeightCovariance, weight_covariance
from bayespeft.io import checkpoint
from bayespeft.io.fingerprint import fingerprint
from bayespeft.io.peft_export import write_lora
from bayespeft.likelihoods.base import Likelihood
from bayespeft.methods.base import Method
from bayespeft.report.calibration import CalibrationReport
from bayespeft.version import __version__


@dataclass
class Posterior:
    """A posterior over the factors of adapters on one network, which itself is as it was.

    Made by `bayespeft.fit` and `bayespeft.load`.

    Attributes:
        model: the network.
        method: the method with all its settings as they were used.
        placements: where adapters sit.
        approximation: q, its priors and the point factors.
        likelihood: what the network's output means.
        history: how training went.
        classes: K.
        seed: of the fit.
        tokenizer: for data that is still text, or None.
        temperature: divides the logits of every draw in prediction; 1 unless it was fitted to validation data.
    """

    model: nn.Module
    method: Method
    placements: tuple[Placement, ...]
    approximation: Approximation
    likelihood: Likelihood
    history: History
    classes: int
    seed: int
    tokenizer: Any = field(default=None, repr=False)
    temperature: float = 1.0

    @property
    def device(self) -> torch.device:
        """Where the network's first parameter lives."""
        return next(self.model.parameters()).device

    def predict(
        self,
        data: Any,
        draws: int | Literal["auto"] = 10,
        seed: int = 0,
        draws_per_pass: int | str = "auto",
        *,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
        prediction: Literal["sampled", "linearised"] | None = None,
        batch_size: int = 32,
        keep_draws: bool = False,
    ) -> Predictive:
        """Average the predictions of posterior draws.

        Draw d is one function for all of `data`; the result does not depend on `batch_size` or `draws_per_pass` beyond
        rounding.

        Args:
            data: as for `bayespeft.fit`, labels optional; the name of a data set means its test split.
            draws: how many; 0 predicts with the posterior mean; "auto" draws until the Monte Carlo standard error of the
                mean NLL is below `tolerance`, which needs labels.
            seed: of the draws.
            draws_per_pass: draws folded into the batch axis at once; "auto" goes by the device's memory.
            sampling: "plain", "antithetic" pairs, or a scrambled "sobol" sequence: the same error with fewer passes.
            tolerance: in nats, for draws="auto".
            prediction: "sampled", or "linearised": one pass and K backward passes in place of a pass for each draw, for
                Gaussian posteriors; `draws`, `draws_per_pass` and `sampling` then mean nothing. None: as the method says.
            batch_size: examples per pass.
            keep_draws: also return each draw's log-probabilities.

        Returns:
            `Predictive`, in the order of the data (that of a `DataLoader` is the order in which it yields).

        Raises:
            ConfigError: draws < 0. DataError: the data can't be used.
        """
        examples = as_examples(data, self.likelihood, self.tokenizer, split="test")
        labels = examples.labels()
        if labels is not None:
            self.likelihood.check_labels(labels, self.classes)
        prediction = prediction or self.method.prediction or self.method.guide.prediction
        if prediction not in ("sampled", "linearised"):
            raise ConfigError(f"prediction={prediction!r}: 'sampled' or 'linearised'.")
        with Attachment(self.placements) as attachment:
            predictor = Predictor(
                self.model, attachment, self.approximation, self.likelihood, self.device, self.temperature
            )
            # The mean is the mean, whichever way its neighbourhood is averaged.
            if prediction == "linearised" and draws != 0:
                predictor.check(draws, sampling, tolerance)
                return predictor.linearised(examples, seed, batch_size, keep_draws)
            return predictor.run(examples, draws, seed, draws_per_pass, batch_size, keep_draws, sampling, tolerance)

    def with_temperature(self, validation: Any, draws: int = 10, seed: int = 0) -> Posterior:
        """Return this posterior with the temperature that minimises the NLL of its averaged prediction on other data.

        Guo et al. 2017, arXiv 1706.04599, on every draw's logits, so that it goes over any method.

        Args:
            validation: labelled data that training has not seen.
            draws: to average.
            seed: of the draws.

        Raises:
            DataError: the data has no labels, or can't be used.
        """
        found = replace(self, temperature=1.0).predict(validation, draws, seed, keep_draws=True)
        if found.labels is None:
            raise DataError("a temperature needs labels: column 'label', 'labels' or 'answer' is missing.")
        assert found.draw_log_probs is not None
        return replace(self, temperature=fit_temperature(found.draw_log_probs, found.labels))

    @property
    def heads(self) -> set[str]:
        """Names of the layers that are freshly made heads, trained whole."""
        return {name for pack in self.approximation.packs if pack.role == "head" for name in pack.sites}

    def report(
        self,
        data: Any,
        draws: int | Literal["auto"] = 10,
        seed: int = 0,
        *,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
        prediction: Literal["sampled", "linearised"] | None = None,
        name: str = "",
        batch_size: int = 32,
        resamples: int = 1000,
    ) -> CalibrationReport:
        """Predict labelled data and say how good and how calibrated the predictions are.

        Args:
            data: as for `predict`, with labels.
            draws, sampling, tolerance, prediction: as for `predict`.
            seed: of the draws and of the bootstrap.
            name: a title for the data; the name of a named data set by default.
            batch_size: examples per pass.
            resamples: bootstrap resamples for the intervals.

        Raises:
            DataError: the data has no labels, or can't be used.
        """
        predictive = self.predict(
            data, draws, seed, sampling=sampling, tolerance=tolerance, prediction=prediction, batch_size=batch_size
        )
        if predictive.labels is None:
            raise DataError("a report needs labels: column 'label', 'labels' or 'answer' is missing.")
        self.likelihood.check_labels(predictive.labels, self.classes)
        return CalibrationReport.from_log_probs(
            predictive.log_probs.numpy(),
            predictive.labels.numpy(),
            draws=predictive.draws,
            forward_passes=predictive.forward_passes,
            backward_passes=predictive.backward_passes,
            nll_error=predictive.nll_error,
            seconds=predictive.seconds,
            mutual_information=float(predictive.mutual_information.mean()),
            trainable_parameters=self.approximation.trainable(),
            total_parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            peak_memory_bytes=predictive.peak_memory_bytes,
            method=self.method.title,
            name=name or (data if isinstance(data, str) else ""),
            seed=seed,
            resamples=resamples,
        )

    def weight_covariance(self, site: str) -> WeightCovariance:
        """Return the covariance of vec(delta W), columns stacked, at one adapted layer.

        Args:
            site: the layer's name.

        Raises:
            TargetError: no adapted layer has that name. GuideError: it has no spread, or the guide is no Gaussian.
        """
        return weight_covariance(self.approximation, self.placements, site)

    def summary(self) -> Summary:
        """Return KL, spread and norms of each adapted layer; it prints as a table."""
        return summarise(self.approximation, self.placements, self.method.guide, self.seed)

    @contextmanager
    def using(self, draw: int | str = "mean", seed: int = 0) -> Iterator[nn.Module]:
        """Give the network one draw's weights inside a `with` block: `with posterior.using("mean") as model: ...`.

        Args:
            draw: "mean", or the number of a draw, as in `predict` with the same seed.
            seed: of the draws.

        Raises:
            ConfigError: `draw` is neither.
        """
        weights = self._one_network(draw, seed)
        with Attachment(self.placements) as attachment, torch.no_grad():
            attachment.bind(weights)
            yield self.model

    @torch.no_grad()
    def _one_network(self, draw: int | str, seed: int) -> SiteWeights:
        if draw != "mean":
            try:
                draw = operator.index(draw)  # type: ignore[arg-type]
            except TypeError:
                raise ConfigError(f"draw={draw!r}: 'mean', or the number of a draw.") from None
            if draw < 0:
                raise ConfigError(f"draw={draw}: draws are numbered from 0.")
        elif self.approximation.latent.members is not None:
            raise ConfigError(
                "'mean' would average the weights of an ensemble, which no member has: name a draw, from 0."
            )
        values = self.approximation.mean()
        if isinstance(draw, int):
            draws = self.approximation.latent.draws(draw + 1, torch.Generator().manual_seed(seed))
            values |= {name: value[draw] for name, value in draws.items()}
        return self.approximation.fixed_weights(values)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the posterior (not the base network) as safetensors and JSON; `bayespeft.load` reads it.

        Raises:
            CheckpointError: the directory holds something else.
        """
        for plugin in (self.method.guide, self.likelihood, *(p.adapter for p in self.placements)):
            registry.check(plugin)
        settings = {
            "bayespeft": __version__,
            "method": self.method.model_dump(mode="json"),
            "likelihood": self.likelihood.model_dump(mode="json"),
            "sites": {p.site.name: p.adapter.model_dump(mode="json") for p in self.placements},
            "heads": sorted(self.heads),
            "classes": self.classes,
            "seed": self.seed,
            "temperature": self.temperature,
            "base": {
                "name": getattr(getattr(self.model, "config", None), "name_or_path", type(self.model).__name__),
                "fingerprint": fingerprint(self.model, exclude=self.heads),
            },
            "history": self.history.to_dict(),
        }
        checkpoint.write(directory, self.approximation.state_dict(), settings)

    def export_peft(self, directory: str | os.PathLike[str], draw: int | str = "mean", seed: int = 0) -> None:
        """Write one draw as a LoRA that `peft.PeftModel.from_pretrained` loads onto the same base network.

        A fitted temperature has no place in that format: divide the exported network's logits by `temperature`.

        Args:
            directory: new, empty, or with an earlier export, which is replaced.
            draw: as for `using`; one draw is one network, so what the others say is lost.
            seed: of the draws.

        Raises:
            CheckpointError: an adapter's change is not exactly a LoRA, or the directory holds something else.
            ConfigError: `draw` is neither "mean" nor the number of a draw.
        """
        write_lora(directory, self.model, self.placements, self._one_network(draw, seed))


def as_examples(data: Any, likelihood: Likelihood, tokenizer: Any, split: str) -> Examples:
    """Read data in any accepted form; the name of a data set means its rows of `split`."""
    if isinstance(data, str):
        data = load_rows(data, split)
    side: Any = likelihood.padding_side or getattr(tokenizer, "padding_side", "right")
    padding = Padding(getattr(tokenizer, "pad_token_id", None), side)

    def encode(rows: Sequence[Any]) -> list[dict[str, Any]]:
        return likelihood.encode(rows, tokenizer)

    return prepare(data, encode if tokenizer is not None else None, padding=padding)
