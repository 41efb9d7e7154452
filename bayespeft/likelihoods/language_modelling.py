"""Language modelling: p(target | source) of a causal or an encoder-decoder language model, token by token.

One example is a source and its target; its log-probability is the sum over the target's tokens, so that the ELBO counts
examples. Source tokens carry the label -100, as in transformers, and only positions with a label reach the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.data.batch import Batch
from bayespeft.data.columns import Row
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.language_rows import COLUMNS, LanguageReader
from bayespeft.likelihoods.tokens import added, ending
from bayespeft.networks.configuration import is_encoder_decoder, setting
from bayespeft.networks.embeddings import output_embedding
from bayespeft.networks.forward import last_logits
from bayespeft.networks.positions import left_positions, token_limit
from bayespeft.networks.tokens import IGNORED, end_tokens, start_token
from bayespeft.predictive.average import GaussianAverage, Normals
from bayespeft.predictive.language import LanguageAverage, LanguagePredictive, SequenceLaw
from bayespeft.utils.warned import warn


class LanguageModelling(Likelihood):
    """p(target | source) = prod over the target's tokens of softmax(logits); the end token belongs to the target.

    Labels are tokens, -100 where none is scored. A causal model's stand beside its inputs, and the first has nothing to be
    predicted from; an encoder-decoder's have a length of their own.

    Attributes:
        template: what is written around a text, with `{source}`; None: "{source}\\n" for a causal model that is fitted to rows
            with `source`, else "{source}". Prompts for generation get the same; conversations have the tokenizer's own.
        encoder_decoder: the network's kind; filled from its configuration.
        vocabulary: tokens that the network knows; filled from its output layer.
        end_tokens: tokens that end a text; filled from the network's configurations and the tokenizer.
    """

    columns: ClassVar[str] = COLUMNS
    # Networks with absolute positions would count padding on the left.
    padding_side: ClassVar[Literal["left", "right"] | None] = "right"
    token_labels: ClassVar[bool] = True
    linearises: ClassVar[bool] = False
    template: str | None = None
    encoder_decoder: bool = False
    vocabulary: int | None = None
    end_tokens: tuple[int, ...] = ()

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> LanguageModelling:
        """Take kind, vocabulary and length limit from the network.

        Raises:
            AttachError: the network is no language model. ConfigError: the template has no `{source}`. DataError: rows are
                text, and the tokenizer has no end token.
        """
        head: Any = output_embedding(model)
        if head is None:
            raise AttachError(
                f"language_modelling needs a network with an output embedding over a vocabulary; {type(model).__name__} has "
                "none. Load it with AutoModelForCausalLM or AutoModelForSeq2SeqLM."
            )
        if not isinstance(weight := getattr(head, "weight", None), Tensor):
            raise AttachError(
                f"language_modelling reads one vocabulary, and the output embedding of {type(model).__name__} is a "
                f"{type(head).__name__} without a weight of its own, as of a network that writes several tokens at each "
                "position (codebooks of sounds): its labels are no text."
            )
        own = is_encoder_decoder(model)
        plain = own or bool(rows and "source" not in rows[0])
        template = self.template if self.template is not None else "{source}" if plain else "{source}\n"
        if "{source}" not in template:
            raise ConfigError(f"template={template!r} has no '{{source}}', so every prompt would be the same.")
        if tokenizer is not None and tokenizer.eos_token_id is None:
            raise DataError(
                "the tokenizer has no end token, so a target could not say that it ends: set tokenizer.eos_token."
            )
        limit = token_limit(self.max_length, model, tokenizer) if tokenizer is not None else self.max_length
        ends = tuple(end_tokens(model, tokenizer))
        return self.replace(
            template=template, encoder_decoder=own, vocabulary=len(weight), max_length=limit, end_tokens=ends
        )

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Tokenize rows of texts or of conversations; see `bayespeft.likelihoods.language_rows`.

        Warnings say what a length limit cuts off, and which targets don't read behind their sources as their texts do.
        """
        written, (front, end) = self.reader(tokenizer).rows(rows), added(tokenizer)
        return self.joined(
            [row.source for row in written],
            [row.target for row in written],
            len(end),
            [row.labels for row in written],
            front,
        )

    def reader(self, tokenizer: Any) -> LanguageReader:
        """Return what reads texts and conversations with a tokenizer."""
        template = self.template if self.template is not None else "{source}"
        own = tokenizer.eos_token_id
        ends = dict.fromkeys((*([] if own is None else [own]), *self.end_tokens))
        return LanguageReader(tokenizer, template, self.encoder_decoder, tuple(ends))

    def prompts(self, sources: Sequence[str], tokenizer: Any) -> list[list[int]]:
        """Return the tokens of each source in its template; a causal model's prompt ends where its text ends."""
        return self.reader(tokenizer).prompts(sources)

    def joined(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int] | None],
        behind: int = 0,
        labels: Sequence[Sequence[int] | None] | None = None,
        front: Sequence[int] = (),
    ) -> list[dict[str, Any]]:
        """Put tokens of sources and targets together as inputs and labels, which are the targets where no others are given.

        Where both are longer than `max_length`, a causal model's source loses its beginning (but for the special tokens
        in `front`) and an encoder's its end (but for `behind` special tokens); a target is never cut.

        Raises:
            DataError: a target alone is too long; there is no source token for its first one to be predicted from.
        """
        examples, dropped = [], []
        for i, (source, target, given) in enumerate(zip(sources, targets, labels or targets, strict=True)):
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
            kept = self._cut(list(source), len(own), behind, front)
            dropped.append(len(source) - len(kept))
            if self.encoder_decoder:
                examples.append({"input_ids": kept, **({} if target is None else {"labels": own})})
            else:
                scored = {} if target is None else {"labels": [IGNORED] * len(kept) + list(given or ())}
                examples.append({"input_ids": kept + own, **scored})
        if any(dropped):
            end = "end" if self.encoder_decoder else "beginning"
            warn(
                f"{sum(map(bool, dropped))} of {len(dropped)} sources are longer than max_length={self.max_length} allows and "
                f"lost their {end}: {sum(dropped)} tokens in all. Targets are whole.",
            )
        return examples

    def _cut(self, source: list[int], target: int, behind: int, front: Sequence[int]) -> list[int]:
        if self.max_length is None:
            return source
        if self.encoder_decoder:
            over = max(0, len(source) - self.max_length)
            return source[: len(source) - over - behind] + source[len(source) - behind :] if over else source
        return ending(source, self.max_length - target, front)

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return log p(target | source) of each example, (n, 1) float32, nats."""
        logits, targets = self.target_logits(model, batch)
        nll = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
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
            return model(**inputs, decoder_input_ids=shifted(labels, model), use_cache=False).logits, labels
        if labels.shape != ids.shape:
            raise DataError(
                f"a causal model's labels stand beside its input_ids: {tuple(labels.shape)} labels for {tuple(ids.shape)} "
                "tokens. Put -100 where no token is scored."
            )
        targets = labels[:, 1:]
        kept = (targets != IGNORED).any(0).nonzero()[:, 0]
        mask = inputs.get("attention_mask", torch.ones_like(ids))
        arguments = {**left_positions(model, mask), **inputs, "attention_mask": mask, "use_cache": False}
        if fewer := last_logits(model, kept):
            return model(**arguments, **fewer).logits, targets[:, kept]
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
                (((labels < 0) & (labels != IGNORED)) | (labels >= limit)).any(1),
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

    def advise(self, labels: Tensor, whole: bool) -> None:
        """Warn where no target says that it ends: what is written then never does."""
        if self.end_tokens and not torch.isin(labels, labels.new_tensor(self.end_tokens)).any():
            warn(
                f"no label of the {len(labels)} examples looked at is an end token ({', '.join(map(str, self.end_tokens))}), "
                "so the network does not learn to end what it writes. A collator that masks padding masks the ends, too, where "
                "the padding token is the end token: give the tokenizer a padding token of its own, or bring labels that keep "
                "the ends.",
            )

    def observed(self, labels: Tensor) -> Tensor:
        """Return how many tokens of each target are scored, (n,) int64: they stand for the targets in a law."""
        return self._scored(labels).sum(1)

    def _scored(self, labels: Tensor) -> Tensor:
        return (labels if self.encoder_decoder else labels[:, 1:]) != IGNORED

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the log-probabilities, which the outputs are."""
        return logits[..., 0].double()

    def curvature_root(self, logits: Tensor, labels: Tensor | None, by_output: Tensor) -> Tensor:
        """Return J, the gradient of log p(target): its outer products add up to the empirical Fisher matrix.

        It stands in for the Gauss-Newton matrix, which would take a backward pass for each position and token of the
        vocabulary; it is no good estimate far from a well-specified optimum (Kunstner et al. 2019, arXiv 1905.12558).
        """
        return by_output

    def average(self, n: int, keep: bool) -> LanguageAverage:
        """Average probabilities of whole targets."""
        return LanguageAverage(n, keep)

    def gaussian_average(self, n: int, keep: bool, normals: Normals) -> GaussianAverage:
        """Refuse: of a log-probability that is linear in the weights, probabilities beyond 1 would come."""
        raise ConfigError(
            "language_modelling has no linearised prediction: pass prediction='sampled', or use posterior.score."
        )

    def prediction_type(self, classes: int) -> type[LanguagePredictive]:
        """Return `LanguagePredictive`."""
        return LanguagePredictive


def shifted(labels: Tensor, model: nn.Module) -> Tensor:
    """Return a decoder's inputs (n, T) for labels (n, T): the start token, then the labels but the last."""
    inputs = torch.cat([labels.new_full((len(labels), 1), start_token(model)), labels[:, :-1]], 1)
    return inputs.masked_fill(inputs == IGNORED, setting(model, "pad_token_id") or 0)


LIKELIHOOD = LanguageModelling
