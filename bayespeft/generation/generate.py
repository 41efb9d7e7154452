"""Prompts to texts: batches of prompts, draws folded into the batch axis, and what came out put together."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bayespeft.adapters.attach import MixedRowsError, mode
from bayespeft.errors import ConfigError
from bayespeft.generation.choice import Choice
from bayespeft.generation.constraints import Constraints
from bayespeft.generation.decode import GeneratedTexts, Voice, decode
from bayespeft.generation.prompts import Prompts, as_tokens, check_length, language_of, padded
from bayespeft.generation.result import Generation
from bayespeft.generation.settings import Decoding
from bayespeft.generation.stops import Stops
from bayespeft.generation.stream import CausalStream, EncoderDecoderStream
from bayespeft.networks.tokens import padding_tokens, start_token
from bayespeft.prediction.predictor import Predictor
from bayespeft.utils.randomness import seeded


def generate(predictor: Predictor, prompts: Prompts, draws: int, settings: Decoding, tokenizer: Any) -> Generation:
    """Write texts with an adapted network; see `bayespeft.Posterior.generate`. Arguments and errors as `_generate`."""
    try:
        return _generate(predictor, prompts, draws, settings, tokenizer)
    except MixedRowsError:
        if settings.draws_per_pass is not None:
            raise
        # A layer that routes tokens can't have several draws in one pass: the first pass says so.
        return _generate(predictor, prompts, draws, settings.replace(draws_per_pass=1), tokenizer)


@torch.no_grad()
def _generate(predictor: Predictor, prompts: Prompts, draws: int, settings: Decoding, tokenizer: Any) -> Generation:
    """Write texts with an adapted network.

    Args:
        predictor: the network, with its hooks switched on, and the posterior.
        prompts: see `as_tokens`.
        draws: of the weights; 0 is the posterior mean.
        settings: how.
        tokenizer: for texts; None for tokens alone.

    Raises:
        AttachError: the network has no vocabulary, no key-value cache, or no token to begin with. ConfigError: no such number
            of draws or end token; what the network's generation configuration asks for can't be done, or forbids every token.
            DataError: the prompts can't be used. FitError: an output is not a number.
    """
    model, device = predictor.adapted.model, predictor.adapted.device
    language = language_of(model, predictor.adapted.likelihood, tokenizer)
    rows = as_tokens(prompts, language, tokenizer, padding_tokens(model, tokenizer))
    if language.vocabulary is not None and max(settings.eos_token_id, default=0) >= language.vocabulary:
        raise ConfigError(f"eos_token_id={settings.eos_token_id}: the network knows 0..{language.vocabulary - 1}.")
    values, count = weight_draws(predictor, draws, settings.seed)
    check_length(rows, settings.max_new_tokens, model, language.encoder_decoder)
    stops = Stops(model, tokenizer, settings.stop, settings.eos_token_id)
    fill, begin_with = filler(model, tokenizer), start_token(model) if language.encoder_decoder else None
    kind = EncoderDecoderStream if language.encoder_decoder else CausalStream
    # The mean is one network, and so is each draw; every prompt gets so many texts at a time.
    networks = max(count, 1)
    each = networks if settings.mode == "per_draw" else 1
    prompt_of = torch.arange(len(rows)).repeat_interleave(settings.num_return_sequences)
    pieces: list[tuple[GeneratedTexts, int]] = []
    begin = time.perf_counter()
    with mode(model), seeded(settings.seed):
        for part in torch.split(prompt_of, settings.batch_size):
            asked = [rows[i] for i in part.tolist()]
            ids, mask = padded(asked, fill, device, encoder_decoder=language.encoder_decoder)
            voices: list[Voice] = []
            for first in range(0, networks, settings.draws_per_pass or networks):
                size = min(settings.draws_per_pass or networks, networks - first)
                chunk = {name: value[first : first + size] for name, value in values.items()}
                weights = predictor.adapted.joint_guide.folded_weights(chunk, len(part))
                voices.append((weights, kind(model, ids.repeat(size, 1), mask.repeat(size, 1))))
            # Text (prompt, draw) has the random numbers of its number, prompt-major; rows are draw-major.
            start = sum(texts for _, texts in pieces)
            numbers = (torch.arange(start, start + len(part)) * each + torch.arange(each)[:, None]).flatten()
            choice = Choice(settings, numbers, device)
            constraints = Constraints(model, settings, asked * each, stops.tokens, begin_with, device)
            written = decode(
                voices, predictor.adapted.attachment.bind, len(part), networks, settings, constraints, choice, stops,
                fill=fill, members=predictor.adapted.joint_guide.latent.members,
            )  # fmt: skip
            predictor.adapted.attachment.check_ran()
            pieces.append((written, len(part)))
        predictor.adapted.attachment.bind({})
    return _together(
        pieces, prompt_of, each, settings, stops, rows, count, fill, tokenizer, time.perf_counter() - begin
    )


def weight_draws(predictor: Predictor, draws: int, seed: int) -> tuple[dict[str, Tensor], int]:
    """Return the draws (S, layers, ...) by stack, the same as those of `using`, and S; none, and 0, for the mean.

    Raises:
        ConfigError: there is no such number of draws: negative, or the mean of an ensemble.
    """
    if isinstance(draws, bool) or not isinstance(draws, int):
        raise ConfigError(f"draws={draws!r}: how many draws write together, a whole number from 0.")
    count = predictor.check(draws, "plain", 1.0)
    if not count:
        return {}, 0
    return predictor.adapted.joint_guide.latent.draws(count, torch.Generator().manual_seed(seed)), count


def filler(model: Any, tokenizer: Any) -> int:
    """Return what stands where no token is: the padding token, or any, since masks hide it."""
    return next(iter(padding_tokens(model, tokenizer)), 0)


def _together(
    pieces: list[tuple[GeneratedTexts, int]],
    prompt_of: Tensor,
    each: int,
    settings: Decoding,
    stops: Stops,
    prompts: list[list[int]],
    draws: int,
    fill: int,
    tokenizer: Any,
    seconds: float,
) -> Generation:
    """Bring texts of all batches into one order, prompt-major and then by draw, and to one width."""

    def in_order(rows: Tensor, texts: int) -> Tensor:
        """(each * texts, ...), draw-major -> prompt-major."""
        return rows.reshape(each, texts, *rows.shape[1:]).transpose(0, 1).flatten(0, 1)

    def padded(name: str, fill: int) -> Tensor:
        rows = [row for w, n in pieces for row in in_order(torch.stack(getattr(w, name), 1), n)]
        return pad_sequence(rows, batch_first=True, padding_value=fill).cpu()

    def joined(name: str) -> Tensor:
        return torch.cat([in_order(getattr(w, name), n) for w, n in pieces]).cpu()

    sequences, lengths, ended = padded("tokens", fill), joined("lengths"), joined("ended")
    by_draw = torch.cat([in_order(w.draw_log_probs.T, n) for w, n in pieces]).T.cpu()
    told = None if tokenizer is None else [row[:n].tolist() for row, n in zip(sequences, lengths, strict=True)]
    return Generation(
        sequences=sequences,
        lengths=lengths,
        ended=ended,
        prompt=prompt_of.repeat_interleave(each),
        draw=torch.arange(each).repeat(len(prompt_of)) if settings.mode == "per_draw" else None,
        token_log_probs=padded("log_probs", 0),
        entropy=padded("entropy", 0),
        mutual_information=padded("mutual_information", 0) if settings.mode == "averaged" else None,
        draw_log_probs=by_draw,
        draws=draws,
        seconds=seconds,
        texts=None if told is None else tuple(map(stops.cut, tokenizer.batch_decode(told, skip_special_tokens=True))),
        pieces=None if told is None else tuple(pieces_of(row, tokenizer) for row in told),
        prompts=None if tokenizer is None else tuple(tokenizer.batch_decode(prompts, skip_special_tokens=True)),
    )


def pieces_of(tokens: list[int], tokenizer: Any) -> tuple[str, ...]:
    """Return what each token adds to the text: nothing, where it holds only the first bytes of a character."""
    found, before = [], ""
    for step in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:step])
        whole = not text.endswith("\N{REPLACEMENT CHARACTER}")
        found.append(text[len(before) :] if whole else "")
        before = text if whole else before
    return tuple(found)
