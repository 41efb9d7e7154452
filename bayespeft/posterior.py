"""A fitted posterior over adapter factors: predict, report, save."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bayespeft import registry
from bayespeft.attach import Attachment, Placement
from bayespeft.data.examples import Examples
from bayespeft.data.load import load as load_rows
from bayespeft.data.prepare import Padding, prepare
from bayespeft.errors import ConfigError, DataError
from bayespeft.inference.approximation import Approximation
from bayespeft.inference.history import History
from bayespeft.inference.predict import Predictive, Predictor
from bayespeft.io import checkpoint
from bayespeft.io.fingerprint import fingerprint
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

    @property
    def device(self) -> torch.device:
        """Where the network's first parameter lives."""
        return next(self.model.parameters()).device

    def predict(
        self,
        data: Any,
        draws: int = 10,
        seed: int = 0,
        draws_per_pass: int | str = "auto",
        *,
        batch_size: int = 32,
        keep_draws: bool = False,
    ) -> Predictive:
        """Average the predictions of posterior draws.

        Draw d is one function for all of `data`; the result does not depend on `batch_size` or `draws_per_pass` beyond
        rounding.

        Args:
            data: as for `bayespeft.fit`, labels optional; the name of a data set means its test split.
            draws: how many; 0 predicts with the posterior mean.
            seed: of the draws.
            draws_per_pass: draws folded into the batch axis at once; "auto" goes by the device's memory.
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
        with Attachment(self.placements) as attachment:
            return self._predictor(attachment).run(examples, draws, seed, draws_per_pass, batch_size, keep_draws)

    def _predictor(self, attachment: Attachment) -> Predictor:
        return Predictor(self.model, attachment, self.approximation, self.likelihood, self.device)

    def report(
        self, data: Any, draws: int = 10, seed: int = 0, *, name: str = "", batch_size: int = 32, resamples: int = 1000
    ) -> CalibrationReport:
        """Predict labelled data and say how good and how calibrated the predictions are.

        Args:
            data: as for `predict`, with labels.
            draws: posterior draws to average.
            seed: of the draws and of the bootstrap.
            name: a title for the data; the name of a named data set by default.
            batch_size: examples per pass.
            resamples: bootstrap resamples for the intervals.

        Raises:
            DataError: the data has no labels, or can't be used.
        """
        predictive = self.predict(data, draws, seed, batch_size=batch_size)
        if predictive.labels is None:
            raise DataError("a report needs labels: column 'label', 'labels' or 'answer' is missing.")
        self.likelihood.check_labels(predictive.labels, self.classes)
        return CalibrationReport.from_log_probs(
            predictive.log_probs.numpy(),
            predictive.labels.numpy(),
            draws=predictive.draws,
            forward_passes=predictive.forward_passes,
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

    @contextmanager
    def using(self, draw: int | str = "mean", seed: int = 0) -> Iterator[nn.Module]:
        """Give the network one draw's weights inside a `with` block: `with posterior.using("mean") as model: ...`.

        Args:
            draw: "mean", or the number of a draw, as in `predict` with the same seed.
            seed: of the draws.

        Raises:
            ConfigError: `draw` is neither.
        """
        if draw != "mean":
            try:
                draw = operator.index(draw)  # type: ignore[arg-type]
            except TypeError:
                raise ConfigError(f"draw={draw!r}: 'mean', or the number of a draw.") from None
            if draw < 0:
                raise ConfigError(f"draw={draw}: draws are numbered from 0.")
        with Attachment(self.placements) as attachment, torch.no_grad():
            values = self.approximation.mean()
            if isinstance(draw, int):
                draws = self.approximation.latent.draws(draw + 1, torch.Generator().manual_seed(seed))
                values |= {name: value[draw] for name, value in draws.items()}
            attachment.bind(self.approximation.fixed_weights(values))
            yield self.model

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write the posterior (not the base network) as safetensors and JSON; `bayespeft.load` reads it.

        Raises:
            CheckpointError: the directory holds something else.
        """
        for plugin in (self.method.guide, self.likelihood, *(p.adapter for p in self.placements)):
            registry.check(plugin)
        heads = [name for pack in self.approximation.packs if pack.role == "head" for name in pack.sites]
        settings = {
            "bayespeft": __version__,
            "method": self.method.model_dump(mode="json"),
            "likelihood": self.likelihood.model_dump(mode="json"),
            "sites": {p.site.name: p.adapter.model_dump(mode="json") for p in self.placements},
            "heads": sorted(set(heads)),
            "classes": self.classes,
            "seed": self.seed,
            "base": {
                "name": getattr(getattr(self.model, "config", None), "name_or_path", type(self.model).__name__),
                "fingerprint": fingerprint(self.model, exclude=heads),
            },
            "history": self.history.to_dict(),
        }
        checkpoint.write(directory, self.approximation.state_dict(), settings)


def as_examples(data: Any, likelihood: Likelihood, tokenizer: Any, split: str) -> Examples:
    """Read data in any accepted form; the name of a data set means its rows of `split`."""
    if isinstance(data, str):
        data = load_rows(data, split)
    side: Any = likelihood.padding_side or getattr(tokenizer, "padding_side", "right")
    padding = Padding(getattr(tokenizer, "pad_token_id", None), side)

    def encode(rows: Sequence[Any]) -> list[dict[str, Any]]:
        return likelihood.encode(rows, tokenizer)

    return prepare(data, encode if tokenizer is not None else None, padding=padding)
