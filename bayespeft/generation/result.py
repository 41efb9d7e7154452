"""What was written, and how sure the posterior was, token by token and as a whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bayespeft import registry
from bayespeft.errors import ConfigError, DataError
from bayespeft.generation.agreement import Embed, mean_cosine, mean_rouge_l, pairs_across
from bayespeft.predictive.average import log_mean
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.files import write_atomic


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Generation:
    """m texts, on the CPU: prompt-major, then by draw where each draw wrote its own.

    Per-token numbers are of the next token's law as the posterior gives it, averaged over draws or one draw's: before tokens
    are forced, forbidden or penalised, and before temperature, top-k, top-p and min-p. They are the numbers of
    `posterior.score`; a forced token may be improbable. They are 0 behind a text's end.

    Attributes:
        sequences: (m, T) int64, new tokens only, the end token included, then padding.
        lengths: (m,) int64, tokens of each text, the end token included.
        ended: (m,) whether an end token came; if not, the text met a stop string or the limit.
        prompt: (m,) int64, which prompt a text goes on from.
        draw: (m,) int64, which draw wrote it; None where all did together.
        token_log_probs: (m, T) log-probability of each token, nats.
        entropy: (m, T) of the next token's law, nats: all the uncertainty.
        mutual_information: (m, T) of the next token and the draw, nats: the entropy of the averaged law less the average
            entropy of the draws' laws, the epistemic part, with what so few draws lack on average
            (`bayespeft.predictive.categorical.information_bias`). None where each draw wrote a text of its own.
        draw_log_probs: (S, m) float64, log-probability of each whole text under each draw, nats; (1, m) where each draw wrote
            its own, or the mean wrote.
        draws: S; 0 for the posterior mean.
        seconds: wall-clock time.
        texts: without special tokens, up to a stop string; None without a tokenizer.
        pieces: what each token adds to its text; None without a tokenizer.
        prompts: the prompts' texts; None without a tokenizer.
    """

    sequences: Tensor
    lengths: Tensor
    ended: Tensor
    prompt: Tensor
    draw: Tensor | None
    token_log_probs: Tensor
    entropy: Tensor
    mutual_information: Tensor | None
    draw_log_probs: Tensor
    draws: int
    seconds: float
    texts: tuple[str, ...] | None
    pieces: tuple[tuple[str, ...], ...] | None
    prompts: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def token_probs(self) -> Tensor:
        """(m, T) probability of each token; 1 behind the end."""
        return torch.exp(self.token_log_probs)

    @property
    def log_probs(self) -> Tensor:
        """(m,) float64, log of the mean over draws of p(text | prompt), nats: an average of products of tokens."""
        return log_mean(self.draw_log_probs)

    @property
    def normalised_log_probs(self) -> Tensor:
        """(m,) float64, `log_probs` by length: nats per token."""
        return self.log_probs / self.lengths

    @property
    def sequence_mutual_information(self) -> Tensor:
        """(m,) sum over tokens of their mutual information, nats.

        The chain rule's estimate of the information between text and draw from one text, with draws weighted equally at every
        token (Malinin & Gales 2021, arXiv 2002.07650). It grows with the length; divide by `lengths` to compare texts.

        Raises:
            ConfigError: each draw wrote a text of its own.
        """
        if self.mutual_information is None:
            raise ConfigError("each draw wrote a text of its own: write with mode='averaged', or use posterior.score.")
        return self.mutual_information.double().sum(1)

    @property
    def tokens(self) -> list[list[int]]:
        """The m texts as lists of tokens, as `posterior.score` takes them for targets."""
        return [row[:length].tolist() for row, length in zip(self.sequences, self.lengths, strict=True)]

    def lexical_agreement(self) -> Tensor:
        """Return the mean ROUGE-L F1 of pairs of a prompt's texts, over tokens without the end, (prompts,), from 0 to 1.

        Pairs are of texts by different draws; of all texts where there is one draw. Of a single text it is 1.

        Raises:
            ConfigError: texts are not one of each draw.
        """
        contents = [row[: len(row) - int(end)] for row, end in zip(self.tokens, self.ended, strict=True)]
        return torch.tensor([mean_rouge_l(contents, pairs) for pairs in self._pairs()])

    def semantic_agreement(self, embed: Embed) -> Tensor:
        """Return the mean cosine of the embeddings of pairs of a prompt's texts, (prompts,), from -1 to 1.

        Pairs as for `lexical_agreement`. Of a single text it is 1.

        Args:
            embed: from texts to (n, d) embeddings, such as `bayespeft.generation.agreement.mean_pooling(...)`.

        Raises:
            ConfigError: texts are not one of each draw. DataError: there are no texts.
        """
        pairs = self._pairs()
        if self.texts is None:
            raise DataError("there are tokens but no texts to embed: pass tokenizer= to fit or load.")
        embedded = embed(self.texts)
        return torch.stack([mean_cosine(embedded, own) for own in pairs])

    def _pairs(self) -> list[list[tuple[int, int]]]:
        """Of each prompt, pairs of texts by number that different draws wrote."""
        if self.draw is None:
            raise ConfigError("all draws wrote one text together, so they can't differ: write with mode='per_draw'.")
        texts = [torch.nonzero(self.prompt == p)[:, 0] for p in range(int(self.prompt.max()) + 1)]
        found = [(own.tolist(), pairs_across(self.draw[own].tolist())) for own in texts]
        return [[(own[i], own[j]) for i, j in pairs] for own, pairs in found]

    def _repr_html_(self) -> str:
        """What a notebook shows: the first texts, every token coloured by its uncertainty."""
        card: str = registry.get("report.view", "generation")(self).card()
        return card

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        color: Literal["mutual_information", "entropy"] | None = None,
        title: str = "Token uncertainty",
    ) -> str:
        """Return one self-contained HTML page with every token coloured by its uncertainty, and write it to `path` if given.

        Args:
            path: of the file.
            color: what colours mean; None: mutual information where there is any, else entropy.
            title: of the page.

        Raises:
            ConfigError: the colour is neither, or there is no mutual information.
        """
        text: str = registry.get("report.view", "generation")(self, color, title).html()
        if path is not None:
            write_atomic(path, text.encode())
        return text
