"""A fitted posterior over adapter factors: what it promises, and what it looks like inside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from bayespeft.analysis.pruning import prune
from bayespeft.analysis.summary import Summary, summarise
from bayespeft.analysis.weight_covariance import WeightCovariance, weight_covariance
from bayespeft.data.layout import Columns
from bayespeft.errors import ConfigError, DataError
from bayespeft.generation.result import Generation
from bayespeft.posterior.calibration import Calibration
from bayespeft.posterior.exported import Exported
from bayespeft.posterior.predicting import Predicting
from bayespeft.posterior.writing import Writing
from bayespeft.predictive.base import Prediction, Use
from bayespeft.report.conformal import ConformalMethod, Per, check_per
from bayespeft.report.decision import Decision, decide_texts
from bayespeft.report.metrics.conformal import check_alpha, check_method
from bayespeft.report.selection import check_guarantee
from bayespeft.utils.annotations import ELSEWHERE, Count, Draws, Seed
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(repr=False)
class Posterior(Predicting, Exported, Writing):
    """A posterior over the factors of adapters on one network, which itself is as it was; attributes as `Fitted`.

    Made by `bayespeft.fit` and `bayespeft.load`.
    """

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
                where "test" means no other. Draws, seed and sampling of a prediction must be those of the predictions that
                sets are asked for; of quantities it has kept its draws.
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
        calibration = self._calibration(validation, columns, draws, seed, batch_size)
        return calibration.predicted().conformal(calibration, alpha=alpha, method=method, per=per, seed=seed)

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
        calibration = self._calibration(validation, columns, draws, seed, batch_size)
        found, seen = calibration.predict(data), calibration.predicted()
        decision: Decision = found.decide(seen, **common, **({"tolerance": tolerance} if quantities else {"per": per}))
        return decision if quantities else replace(decision, class_names=self.likelihood.class_names)

    def _check_use(self, use: Use) -> None:
        """Check, before anything is predicted, that predictions can be used so."""
        kind = self.likelihood.prediction_type(self.classes)
        if use not in kind.uses:
            raise ConfigError(f"{use}: predictions of likelihood '{self.likelihood.kind}' ({kind.__name__}) have none.")

    def _calibration(
        self, validation: Any, columns: Columns | None, draws: int, seed: int, batch_size: int
    ) -> Calibration:
        """Return data that something is calibrated on: a name means its validation split."""
        known = validation if isinstance(validation, Prediction) else self._source(validation, "validation", columns)
        return Calibration(self, known, columns, {"draws": draws, "seed": seed, "batch_size": batch_size})

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
        found = summarise(self.joint_guide, self.placements, self.method.guide)
        return replace(found, imported=dict(self.imported), objective=self.likelihood.objective)

    def pruned(self, keep: float) -> Posterior:
        """Return a smaller posterior, with those of the random sparse values that have the largest |mean| / std.

        Args:
            keep: the fraction of all layers' values together, in (0, 1]; each layer keeps at least one.

        Raises:
            ConfigError: `keep` is out of range, or the adapters have no sparse values. GuideError: these have no spread.
        """
        joint_guide, placements = prune(self.joint_guide, self.placements, self.method.guide, keep)
        return replace(self, joint_guide=joint_guide, placements=placements)
