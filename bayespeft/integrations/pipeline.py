"""`BayesTextClassification`: transformers' pipeline "text-classification", whose answers say how uncertain they are.

classify = transformers.pipeline("text-classification", posterior.model, tokenizer=posterior.tokenizer,
                                 pipeline_class=BayesTextClassification, posterior=posterior)
classify("the cat sat")  # [{"label": ..., "score": ..., "entropy": ..., "uncertainty": ...}]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import TextClassificationPipeline

from bayespeft.data.loader import batch_of
from bayespeft.data.sample import OneBatch
from bayespeft.errors import ConfigError
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.posterior.posterior import Posterior
from bayespeft.predictive.categorical import Predictive


class BayesTextClassification(TextClassificationPipeline):  # type: ignore[misc]
    """A pipeline that averages over draws of a posterior.

    Each answer has `label`, `score` (the averaged probability), `entropy` (nats, of the text) and `uncertainty`: the mutual
    information of label and weights, nats, the part that more training data would remove; 0 with one draw or the mean.

    Args:
        posterior: whose `model` is the pipeline's.
        draws: how many; 0 is the mean.
        seed: of the draws.
        others: as for the pipeline.

    Raises:
        ConfigError: there is no posterior of one class for each text over this network; or `function_to_apply` is given, which
            has no place where probabilities are averaged.
    """

    def __init__(self, *, posterior: Posterior | None = None, draws: int = 10, seed: int = 0, **others: Any) -> None:
        if not isinstance(posterior, Posterior):
            raise ConfigError("posterior= is missing: what bayespeft.fit or bayespeft.load returned.")
        if not issubclass(posterior.likelihood.prediction_type(posterior.classes), Predictive):
            raise ConfigError(
                f"likelihood '{posterior.likelihood.kind}' gives a text no class: there is no such pipeline."
            )
        if isinstance(posterior.likelihood, LabelTokens):
            raise ConfigError(
                "likelihood 'label_tokens' answers a question among choices, which a text alone does not say: ask "
                "posterior.predict(rows) with rows of question and choices."
            )
        if others.get("model") is not posterior.model:
            raise ConfigError("the pipeline's model is another one than the posterior's: pass model=posterior.model.")
        self.posterior, self.draws, self.seed = posterior, draws, seed
        super().__init__(**others)

    def _sanitize_parameters(self, function_to_apply: Any = None, **others: Any) -> Any:
        if function_to_apply is not None:
            raise ConfigError("function_to_apply: scores are averaged probabilities already: leave it out.")
        return super()._sanitize_parameters(**others)

    def _forward(self, model_inputs: Any) -> dict[str, torch.Tensor]:
        batch = batch_of(dict(model_inputs))
        rows = OneBatch(replace(batch, index=torch.arange(len(batch))))
        found: Predictive = self.posterior.predict(rows, self.draws, self.seed)
        information = found.mutual_information if found.draws > 1 else torch.zeros(len(found))
        return {"probs": found.probs, "entropy": found.entropy, "uncertainty": information}

    def postprocess(
        self, model_outputs: dict[str, torch.Tensor], top_k: int | None = 1, _legacy: bool = True, **_: Any
    ) -> Any:
        """Return the likeliest label, or several."""
        probs = model_outputs["probs"].reshape(-1)
        facts = {name: float(model_outputs[name].reshape(-1)[0]) for name in ("entropy", "uncertainty")}
        names = self.posterior.likelihood.class_names or tuple(self.model.config.id2label[k] for k in range(len(probs)))
        order = probs.argsort(descending=True).tolist()
        answers = [{"label": names[k], "score": float(probs[k]), **facts} for k in order[:top_k]]
        return answers[0] if top_k == 1 and _legacy else answers
