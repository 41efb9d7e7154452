"""How probable given texts are: sequence by sequence and token by token, averaged over draws in log space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from bayespeft.adapters.attach import mode
from bayespeft.data.batch import Batch
from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.table import TokenTable
from bayespeft.errors import DataError, FitError
from bayespeft.generation.generate import filler, weight_draws
from bayespeft.generation.prompts import (
    Prompts,
    as_tokens,
    check_known,
    conversations_of,
    language_of,
    texts_of,
    token_rows,
)
from bayespeft.likelihoods.language_modelling import LanguageModelling
from bayespeft.likelihoods.language_rows import TokenisedPair
from bayespeft.likelihoods.tokens import added
from bayespeft.networks.tokens import IGNORED, padding_tokens
from bayespeft.prediction.predictor import Predictor
from bayespeft.predictive.average import log_mean
from bayespeft.predictive.categorical import entropy, information_bias, log_likelihood
from bayespeft.utils.annotations import ELSEWHERE
from bayespeft.utils.randomness import seeded

Targets = Annotated[str | Sequence[str] | Sequence[Sequence[int]], ELSEWHERE]


@dataclass(frozen=True, kw_only=True)
class Score:
    """n targets under the posterior, on the CPU, in the order given.

    Attributes:
        draw_log_probs: (S, n) float64, log p(target | prompt) under each draw, nats; S is 1 for the posterior mean.
        tokens: (n,) int64, scored tokens of each target.
        token_log_probs: of each target, (tokens,) log of the mean over draws of p(token | what comes before), nats.
        token_mutual_information: of each target, (tokens,) mutual information of the next token and the draw, nats; as
            `Generation.mutual_information`.
        token_best: of each target, (tokens,) bool, whether no other token is more probable under that law.
        draws: S; 0 for the posterior mean.
    """

    draw_log_probs: Tensor
    tokens: Tensor
    token_log_probs: tuple[Tensor, ...]
    token_mutual_information: tuple[Tensor, ...]
    token_best: tuple[Tensor, ...]
    draws: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def log_probs(self) -> Tensor:
        """(n,) float64, log of the mean over draws of p(target | prompt), nats: an average of products."""
        return log_mean(self.draw_log_probs)

    @property
    def normalised_log_probs(self) -> Tensor:
        """(n,) float64, `log_probs` by length: nats per token."""
        return self.log_probs / self.tokens

    @property
    def mutual_information(self) -> Tensor:
        """(n,) sum over tokens of the mutual information of the next token and the draw, nats.

        At each token, the entropy of the averaged law less the average entropy of the draws' laws, all draws weighted
        equally; as `Generation.sequence_mutual_information`.
        """
        return torch.stack([own.double().sum() for own in self.token_mutual_information])


@torch.no_grad()
def score(
    predictor: Predictor, prompts: Prompts, targets: Targets, draws: int, seed: int, batch_size: int, tokenizer: Any
) -> Score:
    """Score targets after prompts; see `bayespeft.Posterior.score`.

    Raises:
        AttachError, ConfigError, FitError: as `generate`. DataError: prompts or targets can't be used, or not as many.
    """
    model = predictor.adapted.model
    language = language_of(model, predictor.adapted.likelihood, tokenizer)
    prompts = list(prompts) if isinstance(prompts, Iterator) else prompts
    sources = as_tokens(prompts, language, tokenizer, padding_tokens(model, tokenizer))
    pairs = _pairs(prompts, sources, targets, language, tokenizer)
    front, end = ([], []) if tokenizer is None else added(tokenizer)
    rows = language.joined(
        [p.source for p in pairs], [p.target for p in pairs], len(end), [p.labels for p in pairs], front
    )
    examples = RowExamples(TokenTable(rows), Padding(filler(model, tokenizer), "right", labels=True))
    labels = examples.labels()
    assert labels is not None
    language.check_labels(labels, 1)
    values, count = weight_draws(predictor, draws, seed)
    # By example: what its draws say of its whole target, and of its tokens.
    found: dict[int, tuple[Tensor, ...]] = {}
    with mode(model), seeded(seed):
        for batch in examples.batches(batch_size):
            for number, numbers in zip(batch.index.tolist(), _batch(predictor, language, batch, values), strict=True):
                found[number] = numbers
        predictor.adapted.attachment.bind({})
    ordered = [found[i] for i in range(len(examples))]
    return Score(
        draw_log_probs=torch.stack([whole for whole, *_ in ordered], 1),
        tokens=torch.tensor([len(own) for _, own, *_ in ordered]),
        token_log_probs=tuple(own for _, own, *_ in ordered),
        token_mutual_information=tuple(information for _, _, information, _ in ordered),
        token_best=tuple(best for *_, best in ordered),
        draws=count,
    )


def _pairs(
    prompts: Prompts, sources: list[list[int]], targets: Targets, language: LanguageModelling, tokenizer: Any
) -> list[TokenisedPair]:
    """Return the tokens of prompts, which are given, and of their targets."""
    texts = texts_of(targets, "target", tokenizer)
    rows = [] if texts else _target_tokens(targets, language)
    if len(sources) != len(texts or rows):
        raise DataError(
            f"{len(sources)} prompts and {len(texts or rows)} targets: one target for each prompt is needed."
        )
    if texts:
        reader, talks = language.reader(tokenizer), conversations_of(prompts, tokenizer)
        if talks:
            written = [{"prompt": talk, "completion": text} for talk, text in zip(talks, texts, strict=True)]
            return reader.rows(written, "prompt")
        said = [] if isinstance(prompts, Mapping) else texts_of(prompts, "prompt", tokenizer)
        filled = list(map(reader.filled, said)) or tokenizer.batch_decode(sources, skip_special_tokens=True)
        rows = reader.targets(filled, sources, texts)
    return [TokenisedPair(source, target, target) for source, target in zip(sources, rows, strict=True)]


def _target_tokens(targets: Targets, language: LanguageModelling) -> list[list[int]]:
    if getattr(targets, "ndim", 1) > 1:
        raise DataError(
            "the targets are a table of tokens, in which padding can't be told from text: pass a list for each target, without "
            "padding, such as Generation.tokens."
        )
    rows = token_rows(targets, "target")
    empty = next((i for i, row in enumerate(rows) if not row), None)
    if empty is not None:
        raise DataError(f"target {empty} has no token to score.")
    check_known(rows, "target", language)
    return rows


def _batch(
    predictor: Predictor, language: LanguageModelling, batch: Batch, values: dict[str, Tensor]
) -> list[tuple[Tensor, ...]]:
    """Return for each example (S,) log-probabilities of its target, and (tokens,) those of its tokens, what they tell of the
    draw, and whether none is more probable.
    """
    moved, count = batch.to(predictor.adapted.device), max((len(value) for value in values.values()), default=1)
    wholes, law, squares, spread = [], None, torch.zeros(()), torch.zeros(())
    # One draw a pass: the logits of all positions are wide enough.
    for s in range(count):
        one = {name: value[s : s + 1] for name, value in values.items()}
        predictor.adapted.attachment.bind(predictor.adapted.joint_guide.folded_weights(one, len(batch)))
        logits, labels = language.target_logits(predictor.adapted.model, moved)
        predictor.adapted.attachment.check_ran()
        log_probs = torch.log_softmax(logits.float(), -1)
        if not torch.isfinite(log_probs.amax(-1)).all():
            raise FitError("the network's output is not a number; run it in float32, or check the prompts.")
        real = labels != IGNORED
        own = log_likelihood(log_probs, labels.clamp_min(0)).where(real, 0.0)
        wholes.append(own.double().sum(1).cpu())
        law = log_probs if law is None else torch.logaddexp(law, log_probs)
        spread = spread + entropy(log_probs) / count
        squares = squares + (2 * log_probs).exp() / count
    assert law is not None
    law = law - math.log(count)
    tokens, information = log_likelihood(law, labels.clamp_min(0)), (entropy(law) - spread).clamp_min(0)
    if count > 1:
        information += information_bias(law.exp(), squares, count, predictor.adapted.joint_guide.latent.members)
    by_draw, best = torch.stack(wholes, 1), tokens >= law.amax(-1)
    return [(by_draw[i], *(each[i][real[i]].cpu() for each in (tokens, information, best))) for i in range(len(batch))]
