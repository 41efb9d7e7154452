"""Language modelling: p(target | source) of a causal or an encoder-decoder language model, token by token.

One example is a source and its target; its log-probability is the sum over the target's tokens, so that the ELBO counts
examples. Source tokens carry the label -100, as in transformers, and only positions with a label reach the vocabulary.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood, Row, token_limit
from bayespeft.likelihoods.prompts import added_at_the_end
from bayespeft.predictive.base import GaussianAverage
from bayespeft.predictive.language import LanguageAverage, SequenceLaw

NO_LOSS = -100


class LanguageModelling(Likelihood):
    """p(target | source) = prod over the target's tokens of softmax(logits); the end token belongs to the target.

    Labels are tokens, -100 where none is scored. A causal model's stand beside its inputs, and the first has nothing to be
    predicted from; an encoder-decoder's have a length of their own.

    Attributes:
        template: what is written around a source, with `{source}`; None: "{source}\\n" for a causal model, "{source}" for
            an encoder-decoder. Prompts for generation get the same.
        encoder_decoder: the network's kind; filled from its configuration.
        vocabulary: tokens that the network knows; filled from its output layer.
    """

    columns: ClassVar[str] = "source, target"
    # Networks with absolute positions would count padding on the left.
    padding_side: ClassVar[Literal["left", "right"] | None] = "right"
    token_labels: ClassVar[bool] = True
    linearises: ClassVar[bool] = False
    template: str | None = None
    encoder_decoder: bool = False
    vocabulary: int | None = None

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> LanguageModelling:
        """Take kind, vocabulary and length limit from the network.

        Raises:
            AttachError: the network is no language model. ConfigError: the template has no `{source}`. DataError: rows are
                text, and the tokenizer has no end token.
        """
        getter = getattr(model, "get_output_embeddings", None)
        head = getter() if callable(getter) else None
        if head is None:
            raise AttachError(
                f"language_modelling needs a network with an output embedding over a vocabulary; {type(model).__name__} has "
                "none. Load it with AutoModelForCausalLM or AutoModelForSeq2SeqLM."
            )
        own = bool(getattr(model.config, "is_encoder_decoder", False))
        template = self.template if self.template is not None else "{source}" if own else "{source}\n"
        if "{source}" not in template:
            raise ConfigError(f"template={template!r} has no '{{source}}', so every prompt would be the same.")
        if tokenizer is not None and tokenizer.eos_token_id is None:
            raise DataError(
                "the tokenizer has no end token, so a target could not say that it ends: set tokenizer.eos_token."
            )
        limit = token_limit(self, model, tokenizer) if tokenizer is not None else self.max_length
        return self.replace(template=template, encoder_decoder=own, vocabulary=len(head.weight), max_length=limit)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Tokenize `source`, and `target` with the end token behind it. A warning says what a length limit cuts off."""
        for i, row in enumerate(rows):
            for column in ("source", "target") if "target" in row else ("source",):
                if not isinstance(row.get(column), str):
                    raise DataError(
                        f"row {i}: column '{column}' must be a string, got {row.get(column)!r}. {self.kind} reads "
                        f"{self.columns}; this row has {', '.join(map(str, row))}."
                    )
        sources = self.prompts([row["source"] for row in rows], tokenizer)
        targets = [self.target(row["target"], tokenizer) if "target" in row else None for row in rows]
        return self.joined(sources, targets, added_at_the_end(tokenizer))

    def prompts(self, sources: Sequence[str], tokenizer: Any) -> list[list[int]]:
        """Return the tokens of each source in its template; a causal model's prompt ends where its text ends."""
        template = self.template if self.template is not None else "{source}"
        texts = [template.replace("{source}", source) for source in sources]
        encoded: list[list[int]] = tokenizer(texts, verbose=False)["input_ids"] if texts else []
        behind = 0 if self.encoder_decoder else added_at_the_end(tokenizer)
        return [ids[: len(ids) - behind] for ids in encoded]

    def target(self, text: str, tokenizer: Any) -> list[int]:
        """Return the tokens of a target, with the end token."""
        return [*tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], tokenizer.eos_token_id]

    def joined(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int] | None], behind: int = 0
    ) -> list[dict[str, Any]]:
        """Put tokens of sources and targets together as inputs and labels.

        Where both are longer than `max_length`, a causal model's source loses its beginning and an encoder's its end (but
        for `behind` special tokens); a target is never cut.

        Raises:
            DataError: a target alone is too long; there is no source token for its first one to be predicted from.
        """
        examples, dropped = [], []
        for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
            own = list(target or ())
            if not source:
                raise DataError(
                    f"row {i}: the source has no token, so nothing comes before the target. Write something."
                )
            least = 0 if self.encoder_decoder else 1
            if self.max_length is not None and len(own) + least > self.max_length:
                raise DataError(
                    f"row {i}: the target has {len(own)} tokens with its end, but at most {self.max_length - least} fit "
                    "(max_length, or the network's limit), and a target is not cut. Raise max_length, or leave the row out."
                )
            kept = self._cut(list(source), len(own), behind)
            dropped.append(len(source) - len(kept))
            if self.encoder_decoder:
                examples.append({"input_ids": kept, **({} if target is None else {"labels": own})})
            else:
                labels = {} if target is None else {"labels": [NO_LOSS] * len(kept) + own}
                examples.append({"input_ids": kept + own, **labels})
        if any(dropped):
            end = "end" if self.encoder_decoder else "beginning"
            warnings.warn(
                f"{sum(map(bool, dropped))} of {len(dropped)} sources are longer than max_length={self.max_length} allows and "
                f"lost their {end}: {sum(dropped)} tokens in all. Targets are whole.",
                stacklevel=2,
            )
        return examples

    def _cut(self, source: list[int], target: int, behind: int) -> list[int]:
        if self.max_length is None:
            return source
        if self.encoder_decoder:
            over = max(0, len(source) - self.max_length)
            return source[: len(source) - over - behind] + source[len(source) - behind :] if over else source
        return source[-(self.max_length - target) :]

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return log p(target | source) of each example, (n, 1) float32, nats."""
        logits, targets = self.target_logits(model, batch)
        nll = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=NO_LOSS, reduction="none")
        return -nll.reshape(targets.shape).sum(1, keepdim=True)

    def target_logits(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits (n, k, vocabulary) of positions where any example has a label, and the labels (n, k) there.

        Raises:
            DataError: the batch has no labels, or not one for each token.
        """
        inputs = batch.inputs
        if not isinstance(inputs, Mapping):
            raise DataError("language_modelling needs batches with input_ids, not one tensor.")
        if batch.labels is None:
            raise DataError(
                "language_modelling says how probable a target is, and there is none: column 'target' (or 'labels') is "
                "missing. To write targets, use posterior.generate."
            )
        ids = inputs["input_ids"]
        labels = batch.labels.repeat(len(ids) // len(batch.labels), 1)
        if self.encoder_decoder:
            return model(**inputs, decoder_input_ids=shifted(labels, model.config), use_cache=False).logits, labels
        if labels.shape != ids.shape:
            raise DataError(
                f"a causal model's labels stand beside its input_ids: {tuple(labels.shape)} labels for {tuple(ids.shape)} "
                "tokens. Put -100 where no token is scored."
            )
        targets = labels[:, 1:]
        kept = (targets != NO_LOSS).any(0).nonzero()[:, 0]
        mask = inputs.get("attention_mask", torch.ones_like(ids))
        arguments = {**inputs, "attention_mask": mask, "use_cache": False}
        known = inspect.signature(model.forward).parameters
        if "position_ids" in known:
            # Networks with absolute positions (GPT-2) would count left padding.
            arguments["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
        if "logits_to_keep" in known:
            return model(**arguments, logits_to_keep=kept).logits, targets[:, kept]
        return model(**arguments).logits[:, kept], targets[:, kept]

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the law of targets whose log-probabilities (n, 1) are given."""
        return SequenceLaw(logits[:, 0])

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that labels are tokens of the vocabulary or -100, and that every example has a token to score."""
        if labels.is_floating_point() or labels.dim() != 2:
            raise DataError(
                f"labels must be one token, or -100, for each position, got {labels.dtype} of shape {tuple(labels.shape)}; "
                "for classes pass likelihood='label_tokens' or 'sequence_classification'."
            )
        scored = self._scored(labels)
        limit = self.vocabulary if self.vocabulary is not None else int(labels.max()) + 1
        problems: tuple[tuple[Tensor, str], ...] = (
            (
                (((labels < 0) & (labels != NO_LOSS)) | (labels >= limit)).any(1),
                f"is neither -100 nor in 0..{limit - 1}",
            ),
            (~scored.any(1), "never is a token: all are -100, or only the first is not, which nothing comes before"),
        )
        if self.encoder_decoder:
            behind = (scored[:, 1:] & ~scored[:, :-1]).any(1)
            problems += ((behind, "is -100 before a token, but a decoder's labels are padded on the right"),)
        for bad, what in problems:
            if bad.any():
                raise DataError(f"row {int(bad.nonzero()[0, 0])}: a label {what}.")

    def observed(self, labels: Tensor) -> Tensor:
        """Return how many tokens of each target are scored, (n,) int64: they stand for the targets in a law."""
        return self._scored(labels).sum(1)

    def _scored(self, labels: Tensor) -> Tensor:
        return (labels if self.encoder_decoder else labels[:, 1:]) != NO_LOSS

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the log-probabilities, which the outputs are."""
        return logits[..., 0].double()

    def curvature_root(self, logits: Tensor, by_output: Tensor) -> Tensor:
        """Return J, the gradient of log p(target): its outer products add up to the empirical Fisher matrix.

        It stands in for the Gauss-Newton matrix, which would take a backward pass for each position and token of the
        vocabulary; it is no good estimate far from a well-specified optimum (Kunstner et al. 2019, arXiv 1905.12558).
        """
        return by_output

    def average(self, n: int, keep: bool) -> LanguageAverage:
        """Average probabilities of whole targets."""
        return LanguageAverage(n, keep)

    def gaussian_average(self, n: int, keep: bool, normals: Callable[[int], Tensor]) -> GaussianAverage:
        """Refuse: of a log-probability that is linear in the weights, probabilities beyond 1 would come."""
        raise ConfigError(
            "language_modelling has no linearised prediction: pass prediction='sampled', or use posterior.score."
        )


def shifted(labels: Tensor, config: Any) -> Tensor:
    """Return a decoder's inputs (n, T) for labels (n, T): the start token, then the labels but the last."""
    start = config.decoder_start_token_id
    if start is None:
        raise AttachError(
            "the network's configuration names no decoder_start_token_id: set it, or the decoder can't begin."
        )
    inputs = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], 1)
    return inputs.masked_fill(inputs == NO_LOSS, config.pad_token_id or 0)


LIKELIHOOD = LanguageModelling
