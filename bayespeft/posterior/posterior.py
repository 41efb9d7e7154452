"""A fitted posterior over adapter factors: predict, report, decide, generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from bayespeft.analysis.pruning import prune
from bayespeft.analysis.summary import Summary, summarise
from bayespeft.analysis.weight_covariance import WeightCovariance, weight_covariance
from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.data.layout import Columns
from bayespeft.data.source import Source, source_of
from bayespeft.errors import ConfigError, DataError
from bayespeft.generation.generate import generate
from bayespeft.generation.prompts import Prompts
from bayespeft.generation.result import Generation
from bayespeft.generation.score import Score, Targets, score
from bayespeft.generation.settings import Decoding, refuse
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.posterior import account
from bayespeft.posterior.fitted import Fitted
from bayespeft.posterior.remedies import remedies
from bayespeft.prediction.sampling import UNITS, Sampling
from bayespeft.prediction.temperature import fit_temperature
from bayespeft.prediction.uneven import settled_for
from bayespeft.predictive.base import REPLICATES, Details, Prediction, Use
from bayespeft.report.conformal import ConformalMethod, Per, check_per
from bayespeft.report.decision import Decision, decide_texts
from bayespeft.report.metrics.conformal import check_alpha, check_method
from bayespeft.report.selection import check_guarantee
from bayespeft.utils.checks import ELSEWHERE, Count, Draws, Resamples, Seed, checked_methods
from bayespeft.utils.threads import alone


@checked_methods
@dataclass(repr=False)
class Posterior(Fitted):
    """A posterior over the factors of adapters on one network, which itself is as it was; attributes as `Fitted`.

    Made by `bayespeft.fit` and `bayespeft.load`.
    """

    @alone()
    def predict(
        self,
        data: Any,
        draws: Draws | Literal["auto"] = 10,
        seed: Seed = 0,
        draws_per_pass: Count | Literal["auto"] = "auto",
        *,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
        prediction: Literal["sampled", "linearised"] | None = None,
        batch_size: Count = 32,
        keep_draws: bool = False,
        shared: bool = False,
        columns: Columns | None = None,
    ) -> Any:
        """Average the predictions of posterior draws.

        Draw d is one function for all of `data`; the result does not depend on `batch_size` or `draws_per_pass` beyond
        rounding.

        Args:
            data: as for `bayespeft.fit`, labels optional; the name of a data set means its test split.
            draws: how many; 0 predicts with the posterior mean; "auto" draws until the Monte Carlo standard error of the
                mean NLL is below `tolerance`, which needs labels, and ends at 256 draws even where it is not yet: the
                result's `nll_error` says how large it is.
            seed: of the draws.
            draws_per_pass: draws folded into the batch axis at once; "auto" goes by the device's memory.
            sampling: "plain", "antithetic" pairs, or a scrambled "sobol" sequence: the same error with fewer passes.
            tolerance: in nats, for draws="auto".
            prediction: "sampled", or "linearised": one pass and K backward passes in place of a pass for each draw, for
                Gaussian posteriors; `draws`, `draws_per_pass` and `sampling` then mean nothing. None: as the method says.
            batch_size: examples per pass.
            keep_draws: also return each draw's log-probabilities, or its means where labels are quantities.
            shared: each process of torch's process group runs a share of the batches; all of them call this with the same
                data, and get the whole. In one process it changes nothing.
            columns: which column of the rows is which, as for `bayespeft.fit`; None: as was said there.

        Returns:
            The `Prediction` that the likelihood's `average` makes, in the order of the data (that of a `DataLoader` is the
            order in which it yields): `Predictive` of classes, `RegressionPredictive` of quantities, `LanguagePredictive` of
            texts, and so on.

        Raises:
            ConfigError: draws < 0. DataError: the data can't be used.
        """
        source = self._source(data, columns=columns)
        examples = as_examples(source, self.likelihood, self.tokenizer, self.model)
        labels = examples.labels()
        if labels is not None:
            self.likelihood.check_labels(labels, self.classes)
        prediction = prediction or self.method.prediction or self.method.guide.prediction
        if prediction not in ("sampled", "linearised"):
            raise ConfigError(f"prediction={prediction!r}: 'sampled' or 'linearised'.")
        with self._predictor() as predictor:
            examples = settled_for(self.model, self.likelihood, examples, self.device)
            # The mean is the mean, whichever way its neighbourhood is averaged.
            if prediction == "linearised" and draws != 0:
                if shared:
                    raise ConfigError("shared: a linearised prediction is made whole in each process: leave it out.")
                predictor.check(draws, sampling, tolerance)
                found: Prediction = predictor.linearised(examples, seed, batch_size, keep_draws)
            else:
                predictor = replace(predictor, shared=shared)
                found = predictor.run(
                    examples, draws, seed, draws_per_pass, batch_size, keep_draws, sampling, tolerance
                )
        return found

    def with_temperature(
        self, validation: Any, draws: Draws = 10, seed: Seed = 0, *, columns: Columns | None = None
    ) -> Posterior:
        """Return this posterior with the temperature that minimises the NLL of its averaged prediction on other data.

        Guo et al. 2017, arXiv 1706.04599, on every draw's logits, so that it goes over any method. It is fitted for classes, or
        for answers of "label_tokens", and holds for these alone: `generate` and `score` are as without it.

        Args:
            validation: labelled data that training has not seen. The name of a data set means its validation split, and one
                that has none is refused; where it has no test split besides, a later report on that name judges the
                temperature by the rows that it was fitted to.
            draws: to average.
            seed: of the draws.
            columns: as for `predict`.

        Raises:
            DataError: the data has no labels, or can't be used. ConfigError: labels are no classes.
        """
        if not self.likelihood.tempers:
            raise ConfigError(
                f"a temperature divides logits of classes, and likelihood '{self.likelihood.kind}' has none."
            )
        found = replace(self, temperature=1.0).predict(
            self._source(validation, "validation", columns), draws, seed, keep_draws=True
        )
        if found.labels is None:
            raise missing_labels("a temperature")
        return replace(self, temperature=fit_temperature(found.tempered_nll))

    @alone()
    def report(
        self,
        data: Any,
        draws: Draws | Literal["auto"] = 10,
        seed: Seed = 0,
        *,
        sampling: Sampling = "plain",
        tolerance: float = 0.01,
        prediction: Literal["sampled", "linearised"] | None = None,
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
        # Read first: other data that can't be read is found out before the prediction is paid for.
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
            training=account.training(self.history, advice),
            setup=account.setup(
                self.model, self.method, self.likelihood, [p.layer.name for p in self.placements],
                fit=fitted, report={**settings, **used},
            ),
            seed=seed,
            resamples=resamples,
        )  # fmt: skip

    def conformal(
        self,
        validation: Any,
        alpha: Annotated[float, ELSEWHERE] = 0.1,
        *,
        method: Annotated[ConformalMethod, ELSEWHERE] = "lac",
        per: Per = "all",
        draws: Draws = 10,
        seed: Seed = 0,
        batch_size: Count = 32,
        columns: Columns | None = None,
    ) -> Any:
        """Fit sets of classes, or intervals of quantities, that hold the label with a probability of at least 1 - alpha.

        See `bayespeft.report`: `Conformal` for sets, `ConformalLabels` for sets that hold all labels of an example,
        `ConformalIntervals` for intervals.

        Args:
            validation: labelled data that training has not seen, or its prediction; of the law of the data to come. The name
                of a data set means its validation split, and one that has none is refused; so are sets for the same split,
                where "test" means no other. Draws,
                seed and sampling of a prediction must be those of the predictions that sets are asked for; of quantities it
                has kept its draws.
            alpha: the probability that a set misses the label, at most.
            method: of classes: "lac", the smallest sets on average; "aps", sets that adapt to how hard an example is; "raps",
                these without their long tails.
            per: of classes: "class" keeps the promise for the examples of each class.
            draws: of a prediction, here and for the sets to come.
            seed: of the draws, and of the uniforms of "aps" and "raps".
            batch_size: examples per pass.
            columns: as for `predict`; also of the data that sets are asked for.

        Raises:
            DataError: there are no labels. ConfigError: alpha, method or per can't be used, or labels are texts.
        """
        check_alpha(alpha)
        check_method(method)
        check_per(per)
        self._check_use("conformal")
        if not self.likelihood.discrete and (method, per) != ("lac", "all"):
            raise ConfigError(
                f"method={method!r} and per={per!r} are for classes; quantities have one kind of interval."
            )
        settings: dict[str, Any] = {"draws": draws, "seed": seed, "batch_size": batch_size}
        known = self._calibration(validation, columns)
        predict = partial(self._predicted_beside, known, columns=columns, **settings)
        return self._predicted(known, **settings).conformal(predict, alpha=alpha, method=method, per=per, seed=seed)

    def decide(
        self,
        data: Any,
        risk: Annotated[float, ELSEWHERE] = 0.05,
        *,
        validation: Any,
        delta: Annotated[float, ELSEWHERE] = 0.05,
        per: Per = "all",
        tolerance: Any = None,
        correct: Any = None,
        draws: Draws = 10,
        seed: Seed = 0,
        batch_size: Count = 32,
        columns: Columns | None = None,
    ) -> Decision:
        """Answer or abstain: the rule's error rate on new data is at most `risk`, with probability 1 - delta; see `Decision`.

        The threshold on certainty is fitted on validation data with a finite-sample bound: the probability is over such data,
        and the error rate is that among answers to new examples of the same law.
        Where no threshold can be shown to keep that, all is abstained from, and the result says so.

        Classes are ranked by their probability; quantities by the standard deviation of their law, and an answer is wrong if
        it is farther off than `tolerance`; texts, those that `generate` wrote, by their log-probability per token, and
        `correct` says which are right.

        Args:
            data: as for `predict`, or its result; or the result of `generate`.
            risk: the largest error rate among answers.
            validation: labelled data of the same law that training has not seen, or its prediction. The name of a data set
                means its validation split; one that has none is refused, and so is the same split as `data`. Predictions must
                have the same draws, seed and sampling. For texts: what `generate` wrote for other prompts, same settings.
            delta: the largest probability, over validation data, that the guarantee fails.
            per: of classes: "class" gives a threshold for the answers of each class, and the promise for each of them.
            tolerance: of quantities: how far an answer may be off, in the targets' units; one number, or one per output.
            correct: of texts: (m,) true or false for each text of `validation`.
            draws: of both predictions.
            seed: of the draws, and of the order of equally certain examples.
            batch_size: examples per pass.
            columns: as for `predict`; of data and validation.

        Raises:
            DataError: validation has no labels, or texts were not written with a tokenizer. ConfigError: risk, delta, per or
                tolerance is out of range; a setting is given that is for another kind of label, or is missing; labels are
                texts and data is no result of `generate`; or data and validation are predicted with different numbers of
                draws.
        """
        check_guarantee(risk, delta)
        common: dict[str, Any] = {"risk": risk, "delta": delta, "seed": seed}
        texts = isinstance(data, Generation)
        quantities = not texts and not self.likelihood.discrete
        wanted = {"tolerance": (tolerance, quantities), "correct": (correct, texts)}
        for name, (value, needed) in wanted.items():
            if needed != (value is not None):
                kind = "texts" if name == "correct" else "quantities"
                raise ConfigError(f"{name}= is {'needed' if needed else 'not used'} here: it is for {kind}.")
        if per != "all" and (texts or quantities):
            raise ConfigError(f"per={per!r} is for classes.")
        if isinstance(data, Generation):
            if not isinstance(validation, Generation):
                raise ConfigError("validation of written texts is what `generate` wrote for other prompts.")
            if data.texts is None:
                raise DataError("there are tokens but no texts: pass tokenizer= to fit or load.")
            own, known = (written.normalised_log_probs.numpy() for written in (data, validation))
            return decide_texts(data.texts, own, known, correct, **common)
        self._check_use("decide")
        settings: dict[str, Any] = {"draws": draws, "seed": seed, "batch_size": batch_size}
        calibration = self._calibration(validation, columns)
        found, seen = (
            self._predicted_beside(calibration, data, columns, **settings),
            self._predicted(calibration, **settings),
        )
        decision: Decision = found.decide(seen, **common, **({"tolerance": tolerance} if quantities else {"per": per}))
        return decision

    def _check_use(self, use: Use) -> None:
        """Check, before anything is predicted, that predictions can be used so."""
        kind = self.likelihood.prediction_type(self.classes)
        if use not in kind.uses:
            raise ConfigError(f"{use}: predictions of likelihood '{self.likelihood.kind}' ({kind.__name__}) have none.")

    def _source(self, data: Any, split: str = "test", columns: Columns | None = None) -> Source:
        """Return data as what it is taken for; columns that nobody spoke of here are called as in the fit."""
        return source_of(data, split, columns, self.columns)

    def _unlabelled(self, data: Any, columns: Columns) -> Examples:
        """Read data whose labels don't matter; columns may be called as those of other data."""
        source = source_of(data, remembered=columns).without_labels()
        return as_examples(source, self.likelihood, self.tokenizer, self.model)

    def _calibration(self, validation: Any, columns: Columns | None) -> Source | Prediction:
        """Return data that something is calibrated on: a name means its validation split."""
        return validation if isinstance(validation, Prediction) else self._source(validation, "validation", columns)

    def _predicted_beside(self, known: Source | Prediction, data: Any, columns: Columns | None, **settings: Any) -> Any:
        """Predict data to which a promise is made that was calibrated on other data.

        Raises:
            DataError: it is the same split of the same named data set, so that nothing can be promised.
        """
        if isinstance(data, Prediction):
            return data
        source = self._source(data, columns=columns)
        if isinstance(known, Source) and source.same_split(known):
            raise DataError(
                f"the rows of {source.name!r} that are meant for a test are those that validation= takes, so that the promise "
                "would be judged on the rows that it was fitted to: pass other rows for one of the two, such as some that are "
                "held out of training."
            )
        return self._predicted(source, **settings)

    def _predicted(self, data: Source | Examples | Prediction, draws: int, seed: int, **settings: Any) -> Any:
        """Predict data, and keep the draws where this kind of prediction needs them, unless it is a prediction already."""
        if isinstance(data, Prediction):
            return data
        keep = self.likelihood.prediction_type(self.classes).keeps_draws
        return self.predict(data, draws, seed, keep_draws=keep, **settings)

    @alone()
    def generate(
        self,
        prompts: Prompts,
        draws: Draws = 8,
        *,
        mode: Literal["averaged", "per_draw"] = "averaged",
        max_new_tokens: int = 64,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        min_p: float = 0.0,
        min_new_tokens: int | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
        num_return_sequences: int = 1,
        stop: str | Sequence[str] = (),
        eos_token_id: int | Sequence[int] = (),
        seed: Seed = 0,
        batch_size: Count = 8,
        draws_per_pass: Count | None = None,
        **others: Any,
    ) -> Generation:
        """Write texts, with the next token's probabilities averaged over draws, or a text of each draw.

        A draw is one network for the whole of a text: its keys and values stay in one cache, beside those of the others. A
        text depends neither on those it is written beside nor on padding, beyond rounding.

        What the network's `generation_config` forces, forbids or penalises (`forced_bos_token_id`, `suppress_tokens`,
        `min_length`, ...) holds here, by transformers' own processors on the averaged law; how to search and to sample is said
        here alone. Probabilities, entropy and mutual information that are returned are of the law before that.

        Args:
            prompts: texts, conversations (lists of messages with `role` and `content`), lists of tokens, (n, T) tokens, (T,)
                tokens of one prompt, or what a tokenizer returns. A likelihood "language_modelling" writes texts into its
                template first; conversations have the tokenizer's chat template. Several prompts of one length that begin or
                end with the padding token need an `attention_mask`.
            draws: how many; 0 writes with the posterior mean. Posteriors that predict linearised write with draws, too.
            mode, max_new_tokens, do_sample, temperature, top_k, top_p, min_p: see `Decoding`.
            min_new_tokens, repetition_penalty, no_repeat_ngram_size, num_return_sequences: see `Decoding`.
            stop: one string or several that end a text, besides those that the network names.
            eos_token_id: one token or several that end a text, besides those that the network and tokenizer name.
            seed: of the weights' draws (those of `using`) and of the samples.
            batch_size: texts written at once, each by all draws.
            draws_per_pass: draws folded into the batch axis of one pass; None: all.
            others: none; what transformers knows and is not here is refused.

        Raises:
            ConfigError: a setting, here or of the network's generation_config, can't be used, or leaves no token to choose.
            DataError: the prompts can't be used. AttachError: the network is no language model.
        """
        refuse(others)
        ends: dict[str, Any] = {"stop": stop, "eos_token_id": eos_token_id}  # which take one for several
        decoding = Decoding(
            mode=mode, max_new_tokens=max_new_tokens, do_sample=do_sample, temperature=temperature, top_k=top_k, top_p=top_p,
            min_p=min_p, min_new_tokens=min_new_tokens, repetition_penalty=repetition_penalty,
            no_repeat_ngram_size=no_repeat_ngram_size, num_return_sequences=num_return_sequences, **ends,
            seed=seed, batch_size=batch_size, draws_per_pass=draws_per_pass,
        )  # fmt: skip
        with self._predictor() as predictor:
            return generate(predictor, prompts, draws, decoding, self.tokenizer)

    @alone()
    def score(
        self, prompts: Prompts, targets: Targets, draws: Draws = 8, seed: Seed = 0, *, batch_size: Count = 8
    ) -> Score:
        """Return how probable targets are after prompts, averaged over draws, as wholes and token by token.

        Args:
            prompts: as for `generate`.
            targets: one for each prompt: texts, to which an end token is added, or lists of tokens as they are, such as
                `Generation.tokens`; not both.
            draws: how many; 0 scores with the posterior mean.
            seed: of the draws.
            batch_size: examples per pass.

        Raises:
            ConfigError, DataError, AttachError: as `generate`.
        """
        with self._predictor() as predictor:
            return score(predictor, prompts, targets, draws, seed, batch_size, self.tokenizer)

    def weight_covariance(self, layer: str) -> WeightCovariance:
        """Return the covariance of vec(delta W), columns stacked, at one adapted layer.

        Args:
            layer: the layer's name.

        Raises:
            TargetError: no adapted layer has that name. GuideError: it has no spread, or the guide is no Gaussian.
        """
        return weight_covariance(self.joint_guide, self.placements, layer)

    def summary(self) -> Summary:
        """Return KL, spread and norms of each adapted layer; it prints as a table."""
        return summarise(self.joint_guide, self.placements, self.method.guide)

    def pruned(self, keep: float) -> Posterior:
        """Return a smaller posterior, with those of the random sparse values that have the largest |mean| / std.

        Args:
            keep: the fraction of all layers' values together, in (0, 1]; each layer keeps at least one.

        Raises:
            ConfigError: `keep` is out of range, or the adapters have no sparse values. GuideError: these have no spread.
        """
        joint_guide, placements = prune(self.joint_guide, self.placements, self.method.guide, keep)
        return replace(self, joint_guide=joint_guide, placements=placements)
