"""What a posterior predicts, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.data.layout import Columns
from bayespeft.data.loader import LoaderExamples
from bayespeft.data.source import Source, source_of
from bayespeft.errors import ConfigError
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.class_weight import shift
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.posterior import account
from bayespeft.posterior.fitted import Fitted
from bayespeft.posterior.remedies import remedies
from bayespeft.prediction.agreement import linearised_as_near
from bayespeft.prediction.sampling import UNITS, Sampling
from bayespeft.prediction.temperature import as_weighed, fit_temperature, warn_of_bounds
from bayespeft.prediction.uneven import settled_for
from bayespeft.predictive.average import REPLICATES
from bayespeft.predictive.base import Details, Prediction
from bayespeft.report.making import Making
from bayespeft.utils.annotations import Count, Draws, Resamples, Seed
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.threads import alone
from bayespeft.utils.warned import warn

P = TypeVar("P", bound="Predicting")


@checked_methods
@dataclass(repr=False)
class Predicting(Fitted):
    """A posterior that predicts and is reported on; attributes as `Fitted`."""

    @alone()
    def predict(
        self,
        data: Any,
        draws: Draws | Literal["auto", "decision"] = 10,
        seed: Seed = 0,
        draws_per_pass: Count | Literal["auto"] = "auto",
        *,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
        prediction: Literal["sampled", "linearised", "auto"] | None = None,
        batch_size: Count = 32,
        keep_draws: bool = False,
        shared: bool | Literal["draws"] = False,
        columns: Columns | None = None,
    ) -> Any:
        """Average the predictions of posterior draws.

        Draw d is one function for all of `data`; the result does not depend on `batch_size` or `draws_per_pass` beyond
        rounding.

        Args:
            data: as for `bayespeft.fit`, labels optional; the name of a data set means its test split.
            draws: how many; 0 predicts with the posterior mean; "auto" draws until the Monte Carlo standard error of the
                mean NLL is below `tolerance`, which needs labels, and ends at 256 draws even where it is not yet: the
                result's `nll_error` says how large it is. "decision" gives each example as many of 3, 5, 10, 16 or 32 draws as
                its most probable class needs to be settled, needs no labels, and is for decisions: probabilities of few draws
                are rough. Where log-odds are nearly normal over draws, an example is settled wrongly with a probability of at
                most 5 %, which near ties alone come close to (`bayespeft.prediction.deciding`, where what holds otherwise is
                said, too).
            seed: of the draws.
            draws_per_pass: draws folded into the batch axis at once; "auto" goes by the device's memory.
            sampling: "plain", "antithetic" pairs, or a scrambled "sobol" sequence: the same error with fewer passes.
            tolerance: in nats, for draws="auto".
            prediction: "sampled", or "linearised": one pass and K backward passes (K - 1 of few classes) in place of a pass for
                each draw, for Gaussian posteriors; `draws`, `draws_per_pass` and `sampling` then mean nothing. "auto":
                linearised where that is cheaper and, by many draws of 32 of the rows, as near to the posterior's prediction
                as `draws` draws are, else sampled; `backward_passes` of the result tells which. Of more than two classes one
                backward pass is tried first, that of one direction of each example, in which case covariances of all
                examples have the shape that they have in 32 others. None: as the method says.
            batch_size: examples per pass.
            keep_draws: also return each draw's log-probabilities, or its means where labels are quantities.
            shared: each process of torch's process group runs a share of the batches; all of them call this with the same
                data, and get the whole. "draws": a share of the draws of each batch, for few rows. In one process it changes
                nothing.
            columns: which column of the rows is which, as for `bayespeft.fit`; None: as was said there.

        Returns:
            The `Prediction` that the likelihood's `average` makes, in the order of the data (that of a `DataLoader` is the
            order in which it yields; of one that shuffles an order of its own, of which a warning tells): `Predictive` of
            classes, `RegressionPredictive` of quantities, `LanguagePredictive` of texts, and so on.

        Raises:
            ConfigError: draws, sampling or tolerance is out of range, "decision" has no sense here, an ensemble is asked for
                its mean, or a posterior that is no Gaussian for a linearised prediction. DataError: the data can't be used,
                or has no labels, which draws="auto" needs. AttachError: the network is in use, or has been merged into since.
        """
        source = self._source(data, columns=columns)
        if source is not data and isinstance(source.ready, LoaderExamples) and source.ready.own_order:
            warn(
                "the DataLoader shuffles, so predictions come in an order that no other pass over it has; their labels come "
                "with them. For the order of the data, predict from a DataLoader with shuffle=False.",
            )
        examples = as_examples(source, self.likelihood, self.tokenizer, self.model)
        labels = examples.labels()
        if labels is not None:
            self.likelihood.check_labels(labels, self.classes)
        prediction = prediction or self.method.predicts
        if prediction not in ("sampled", "linearised", "auto"):
            raise ConfigError(f"prediction={prediction!r}: 'sampled', 'linearised' or 'auto'.")
        with self._predictor() as predictor:
            examples = settled_for(self.model, self.likelihood, examples, self.device)
            found: Prediction | None = None
            # Where the number of draws is found by drawing, or each process has rows of its own, there is one way.
            if prediction == "auto" and not shared and not isinstance(draws, str):
                known = predictor.check(draws, sampling, tolerance) or 0
                found = linearised_as_near(predictor, examples, known, seed, batch_size, keep_draws)
            # The mean is the mean, whichever way its neighbourhood is averaged.
            if prediction == "linearised" and draws != 0:
                if shared:
                    raise ConfigError("shared: a linearised prediction is made whole in each process: leave it out.")
                predictor.check(draws, sampling, tolerance)
                found = predictor.linearised(examples, seed, batch_size, keep_draws)
            if found is None:
                predictor = replace(predictor, shared=shared)
                found = predictor.run(
                    examples, draws, seed, draws_per_pass, batch_size, keep_draws, sampling, tolerance
                )
        return replace(found, making=self._making(found, sampling, seed))

    def _making(self, found: Prediction, sampling: Sampling, seed: int) -> Making:
        """Return how a prediction was made; a seed of no draws, or of all members of an ensemble, decides nothing."""
        way: str = "linearised" if found.backward_passes else sampling if found.draws else "mean"
        if found.backward_passes == 1 < (self.classes or 1) - 1:
            way = "linearised, one direction"
        decided = found.draws > 0 and found.draws != self.joint_guide.latent.members
        return Making(self._digest(), self.temperature, way, seed if decided else None)

    def with_temperature(
        self: P, validation: Any, draws: Draws = 10, seed: Seed = 0, *, columns: Columns | None = None
    ) -> P:
        """Return this posterior with the temperature that minimises the NLL of its averaged prediction on other data.

        Guo et al. 2017, arXiv 1706.04599, on every draw's logits, so that it goes over any method. It is fitted for classes, or
        for answers of "label_tokens", and holds for these alone: `generate` and `score` are as without it.

        Args:
            validation: labelled data that training has not seen; where classes were weighed, its rows count likewise. The name
                of a data set means its validation split, and one that has none is refused; where it has no test split besides,
                a later report on that name judges the temperature by the rows that it was fitted to.
            draws: to average.
            seed: of the draws.
            columns: as for `predict`.

        Raises:
            DataError: the data has no labels, or can't be used. ConfigError: labels are no classes. A warning says
                where every row is right, or the labels go against the predictions, so that no temperature is best.
        """
        if not self.likelihood.tempers:
            raise ConfigError(
                f"a temperature divides logits of classes, and likelihood '{self.likelihood.kind}' has none."
            )
        found = self._bare().predict(self._source(validation, "validation", columns), draws, seed, keep_draws=True)
        if found.labels is None:
            raise missing_labels("a temperature")
        nll = as_weighed(found, self.likelihood)
        temperature = fit_temperature(nll)
        warn_of_bounds(nll, temperature, len(found))
        return replace(self, temperature=temperature)

    def with_prior_correction(self: P) -> P:
        """Return this posterior with probabilities of the training data's own class frequencies, where classes were weighed.

        p(y | x) is proportional to p_w(y | x) / w_y: what is learned with weights w is the law of a population in which class y
        is w_y times as frequent, and each draw's probabilities are divided by the weights, behind a fitted temperature
        (Saerens et al. 2002; King & Zeng 2001, prior correction). It is exact where the network can represent either law; the
        most probable class is then the training data's again, and no longer the one that the weights favour.

        Raises:
            ConfigError: classes were not weighed, or one has the weight 0.
        """
        likelihood = self.likelihood
        if not isinstance(likelihood, Categorical) or likelihood.weights is None:
            raise ConfigError("there is nothing to correct: this posterior was fitted without class_weight.")
        shift(likelihood.weights)
        return replace(self, likelihood=likelihood.replace(prior_corrected=True))

    @alone()
    def report(
        self,
        data: Any,
        draws: Draws | Literal["auto"] = 10,
        seed: Seed = 0,
        *,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
        prediction: Literal["sampled", "linearised", "auto"] | None = None,
        name: str = "",
        batch_size: Count = 32,
        resamples: Resamples = 1000,
        ood: Mapping[str, Any] | None = None,
        draws_error: bool = False,
        quotes: int = 10,
        columns: Columns | None = None,
    ) -> Any:
        """Predict labelled data and say how good and how calibrated the predictions are.

        It is the `Report` that the kind of prediction makes: of classes a `CalibrationReport`, of quantities a
        `RegressionReport`, of texts a `LanguageReport`, and so on.

        Args:
            data: as for `predict`, with labels.
            draws, sampling, tolerance, prediction: as for `predict`.
            seed: of the draws and of the bootstrap.
            name: a title for the data; the name of a named data set by default.
            batch_size: examples per pass.
            resamples: bootstrap resamples for the intervals.
            ood: name -> other data of the same form: how does uncertainty tell it from `data`? Its labels, if it has any, are
                not used, and may be of other classes. It is predicted with as many draws, from the same seed.
            draws_error: keep each draw's probabilities (4 bytes per draw, example and class) and add the Monte Carlo error
                of figures over draws, and figures by number of draws.
            quotes: of classes: how many of the most confident mistakes, and of the least certain rows, the report quotes
                with their text. 0 keeps the data out of it.
            columns: as for `predict`.

        Raises:
            DataError: the data has no labels, or can't be used. ConfigError: `ood` or `draws_error`, and labels are no
                classes; a prediction in `ood` has other draws or classes; or `quotes` is negative.
        """
        kind = self.likelihood.prediction_type(self.classes)
        if (ood and "ood" not in kind.uses) or (draws_error and "draws_error" not in kind.uses):
            raise ConfigError(
                f"ood and draws_error are for classes, one for each example, and likelihood '{self.likelihood.kind}' has none."
            )
        settings: dict[str, Any] = {"sampling": sampling, "prediction": prediction, "batch_size": batch_size}
        source = self._source(data, columns=columns)
        # Other data are read first, so that what can't be read is found out before the prediction is paid for.
        others = {
            title: other if isinstance(other, Prediction) else self._unlabelled(other, source.columns)
            for title, other in (ood or {}).items()
        }
        predictive = self.predict(
            source, draws, seed, tolerance=tolerance, **settings,
            keep_draws=draws_error or kind.keeps_draws,
        )  # fmt: skip
        if predictive.labels is None:
            raise missing_labels("a report")
        count = predictive.draws if draws == "auto" else draws
        # A linearised prediction draws logits, in groups of its own.
        unit = predictive.draws // REPLICATES if predictive.backward_passes else UNITS[sampling]
        details = Details(
            names=self.likelihood.class_names or source.class_names,
            rows=source.raw_rows,
            quotes=quotes,
            others={title: self._predicted(other, count, seed, **settings) for title, other in others.items()},
            unit=unit if draws_error else None,
        )
        used = {
            "draws": draws,
            "seed": seed,
            "tolerance": tolerance,
            "resamples": resamples,
            "device": str(self.device),
        }
        fitted = {"seed": self.seed, "classes": self.classes, "temperature": self.temperature}
        advice = remedies(self.history, self.method, self.likelihood, self.temperature, draws)
        return predictive.report(
            details,
            trainable_parameters=self.joint_guide.trainable(),
            total_parameters=self.total_parameters,
            method=self.method.title,
            name=name or source.name,
            training=account.training(self.history, advice, self.likelihood.objective),
            setup=account.setup(
                self.model, self.method, self.likelihood, [p.layer.name for p in self.placements],
                fit=fitted, report={**settings, **used},
            ),
            seed=seed,
            resamples=resamples,
        )  # fmt: skip

    def _bare(self: P) -> P:
        """Return this posterior without a temperature, and without a correction that comes behind it."""
        likelihood = self.likelihood
        if isinstance(likelihood, Categorical):
            likelihood = likelihood.replace(prior_corrected=False)
        return replace(self, likelihood=likelihood, temperature=1.0)

    def _source(self, data: Any, split: str = "test", columns: Columns | None = None) -> Source:
        """Return data as what it is taken for; columns that nobody spoke of here are called as in the fit."""
        return source_of(data, split, columns, self.columns)

    def _unlabelled(self, data: Any, columns: Columns) -> Examples:
        """Read data whose labels don't matter; columns may be called as those of other data."""
        source = source_of(data, remembered=columns).without_labels()
        return as_examples(source, self.likelihood, self.tokenizer, self.model)

    def _predicted(self, data: Source | Examples | Prediction, draws: int, seed: int, **settings: Any) -> Any:
        """Predict data, and keep the draws where this kind of prediction needs them, unless it is a prediction already."""
        if isinstance(data, Prediction):
            return data
        keep = self.likelihood.prediction_type(self.classes).keeps_draws
        return self.predict(data, draws, seed, keep_draws=keep, **settings)
