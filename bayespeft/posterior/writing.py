"""Texts of a posterior over a language model: written by averaged next-token laws, or scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bayespeft.generation.generate import generate
from bayespeft.generation.prompts import Prompts
from bayespeft.generation.result import Generation
from bayespeft.generation.score import Score, Targets, score
from bayespeft.generation.settings import Decoding, refuse
from bayespeft.posterior.fitted import Fitted
from bayespeft.utils.annotations import Count, Draws, Seed
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.threads import alone


@checked_methods
@dataclass(repr=False)
class Writing(Fitted):
    """A posterior that writes and scores texts; attributes as `Fitted`."""

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
