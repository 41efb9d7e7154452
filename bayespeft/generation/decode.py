"""The loop: the law of the next token from all draws, a choice, and the numbers that go with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.adapters.attach import LayerWeights
from bayespeft.errors import ConfigError, FitError
from bayespeft.generation.choice import Choice
from bayespeft.generation.constraints import Constraints
from bayespeft.generation.settings import Decoding
from bayespeft.generation.stops import Stops
from bayespeft.generation.stream import Stream
from bayespeft.predictive.average import log_mean
from bayespeft.predictive.categorical import entropy, information_bias, log_likelihood

# The weights of some draws, and the stream whose rows are run with them.
Voice = tuple[LayerWeights, Stream]


@dataclass
class GeneratedTexts:
    """Texts as they grow. All are (texts, steps so far) lists of columns, 0 after a text's end.

    Attributes:
        tokens: the chosen ones.
        log_probs: their log-probabilities under the law that the draws, or one, give them: before constraints, temperature and
            truncation.
        entropy: of that law, nats.
        mutual_information: of the token and the draw, nats; all 0 where each draw has a text of its own.
        draw_log_probs: (draws, texts) float64 log-probability of each whole text under each draw; (1, texts) where each has
            its own.
        lengths: (texts,) tokens of each text.
        ended: (texts,) whether an end token came.
    """

    tokens: list[Tensor]
    log_probs: list[Tensor]
    entropy: list[Tensor]
    mutual_information: list[Tensor]
    draw_log_probs: Tensor
    lengths: Tensor
    ended: Tensor


def decode(
    voices: list[Voice],
    bind: Callable[[LayerWeights], None],
    texts: int,
    draws: int,
    settings: Decoding,
    constraints: Constraints,
    choice: Choice,
    stops: Stops,
    *,
    fill: int,
    members: int | None,
) -> GeneratedTexts:
    """Write texts.

    Args:
        voices: weights and streams; their rows are draw-major, and together (draws * texts).
        bind: gives the network the weights of a voice.
        texts: prompts, repeated as often as texts are wanted of each.
        draws: S.
        settings: mode and length.
        constraints: on the next token; of (draws * texts) rows where each draw writes its own.
        choice: of a token from its law; of as many.
        stops: when to end.
        fill: the token that is written behind an end.
        members: how many draws there are at all, for an ensemble.

    Raises:
        FitError: an output of the network is not a number. ConfigError: every token is forbidden.
    """
    averaged = settings.mode == "averaged"
    rows = texts if averaged else draws * texts
    logits = _logits(voices, bind, None)
    device = logits.device
    written = GeneratedTexts(
        [], [], [], [],
        torch.zeros(draws if averaged else 1, rows, dtype=torch.float64, device=device),
        torch.zeros(rows, dtype=torch.int64, device=device),
        torch.zeros(rows, dtype=torch.bool, device=device),
    )  # fmt: skip
    going = torch.ones(rows, dtype=torch.bool, device=device)
    for step in range(settings.max_new_tokens):
        logits = logits.reshape(-1, rows, logits.shape[-1])
        by_draw = torch.log_softmax(logits, -1)
        law = log_mean(by_draw)
        if not torch.isfinite(law.amax(-1)).all():
            raise FitError(
                "the network's output is not a number while it writes; run it in float32, or check the prompts."
            )
        # The log-normaliser is the same for every token, but some may be -inf; the most probable one is not.
        level = (logits.amax(-1) - by_draw.amax(-1)).mean(0)
        scores = constraints(law, level, written.tokens)
        if not (torch.isfinite(scores.amax(-1)) | ~going).all():
            raise ConfigError(
                f"after {step} tokens of a text every next token is forbidden: lower no_repeat_ngram_size, or suppress fewer "
                "tokens in model.generation_config."
            )
        tokens = torch.where(going, choice(scores, step), fill)
        spread = entropy(law)
        information = (spread - entropy(by_draw).mean(0)).clamp_min(0)
        if len(by_draw) > 1:
            information += information_bias(law.exp(), (2 * by_draw).exp().mean(0), len(by_draw), members)
        written.tokens.append(tokens)
        written.log_probs.append(log_likelihood(law, tokens).where(going, 0.0))
        written.entropy.append(spread.where(going, 0.0))
        written.mutual_information.append(information.where(going, 0.0))
        written.draw_log_probs += log_likelihood(by_draw, tokens).double().where(going, 0.0)
        written.lengths += going
        written.ended |= going & stops.ended(tokens)
        going = going & ~written.ended & ~stops.spelled(torch.stack(written.tokens, 1))
        if not going.any() or step + 1 == settings.max_new_tokens:
            break
        logits = _logits(voices, bind, tokens.repeat(draws) if averaged else tokens)
    return written


def _logits(voices: list[Voice], bind: Callable[[LayerWeights], None], tokens: Tensor | None) -> Tensor:
    """Return the next logits of all voices, (draws * texts, vocabulary), after one more token each, if there is one."""
    found, first = [], 0
    for weights, stream in voices:
        bind(weights)
        found.append(stream.begin() if tokens is None else stream.go_on(tokens[first : first + stream.rows]))
        first += stream.rows
    return torch.cat(found) if len(found) > 1 else found[0]
