"""What may come next: tokens that a network's generation configuration, or a caller, forces, forbids or penalises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import ConfigError
from bayespeft.generation.settings import Decoding

# They need a second pass of the network, its inner layers, beams or other prompts, and averaged probabilities have none.
UNSUPPORTED = (
    "guidance_scale",
    "watermarking_config",
    "token_healing",
    "dola_layers",
    "force_words_ids",
    "constraints",
)


class Constraints:
    """transformers' own logits processors, which see every text without padding, as if it were written alone.

    How to search and to sample (`num_beams`, `do_sample`, `temperature`, ...) is said by the settings alone, whatever the
    network's generation configuration holds.

    Args:
        model: its generation configuration says what is forced, forbidden and penalised.
        settings: take the place of what the configuration says.
        prompts: of each row, tokens.
        ends: the end tokens.
        start: the token that a decoder begins with; None where it goes on from the prompt.
        device: of the laws.

    Raises:
        ConfigError: the configuration asks for what can't be done with averaged probabilities, or has a value out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Decoding,
        prompts: Sequence[Sequence[int]],
        ends: list[int],
        start: int | None,
        device: torch.device,
    ) -> None:
        configuration = getattr(model, "generation_config", None)
        by_length: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(row)
        # Of each length: which rows, what stands before their texts, and their processors.
        self._groups: list[tuple[Tensor, Tensor, Any]] = []
        for rows in by_length.values():
            asked = torch.tensor([list(prompts[row]) for row in rows], device=device)
            before = asked if start is None else asked.new_full((len(rows), 1), start)
            try:
                processors = _processors(configuration, settings, asked, before.shape[1], ends)
            except (TypeError, ValueError) as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"the network's generation_config can't be used: {error}. Mend it.") from error
            if processors:
                self._groups.append((torch.tensor(rows, device=device), before, processors))

    def __call__(self, law: Tensor, level: Tensor, written: Sequence[Tensor]) -> Tensor:
        """Return scores to choose by, (rows, vocabulary), -inf where a token is forbidden.

        Args:
            law: (rows, vocabulary) log-probabilities.
            level: (rows,) log-normaliser of the logits; averaged where laws were. A penalty scales logits, and where there is
                one law it then scales the network's own.
            written: the columns so far, (rows,) each.
        """
        if not self._groups:
            return law
        scores = law + level[:, None]
        for rows, before, processors in self._groups:
            so_far = torch.cat([before, *(column[rows, None] for column in written)], 1)
            scores[rows] = processors(so_far, scores[rows])
        return scores


def _processors(configuration: Any, settings: Decoding, prompts: Tensor, begin: int, ends: list[int]) -> Any:
    """Return transformers' own, in its order, for texts of which (n, `begin`) tokens stand before what is written."""
    import transformers as hf  # slow to import

    def own(name: str) -> Any:
        """Return a setting, None where it changes nothing: a penalty of 1, a size of 0, a list of nothing."""
        said = getattr(settings, name, None)
        value = getattr(configuration, name, None) if said is None else said
        idle = value == 1 if name.endswith(("penalty", "scale")) else not value and not name.startswith("forced")
        return None if idle else value

    for name in UNSUPPORTED:
        if own(name) is not None:
            raise ConfigError(
                f"the network's generation_config sets {name}={own(name)!r:.80}, which can't be done with averaged "
                f"probabilities: set model.generation_config.{name} = None."
            )
    device, found = prompts.device, hf.LogitsProcessorList()
    if (bias := own("sequence_bias")) is not None:
        found.append(hf.SequenceBiasLogitsProcessor(bias))
    if (penalty := own("encoder_repetition_penalty")) is not None:
        found.append(hf.EncoderRepetitionPenaltyLogitsProcessor(float(penalty), prompts))
    if (penalty := own("repetition_penalty")) is not None:
        found.append(hf.RepetitionPenaltyLogitsProcessor(float(penalty)))
    if (size := own("no_repeat_ngram_size")) is not None:
        found.append(hf.NoRepeatNGramLogitsProcessor(size))
    if (size := own("encoder_no_repeat_ngram_size")) is not None:
        found.append(hf.EncoderNoRepeatNGramLogitsProcessor(size, prompts))
    if (words := own("bad_words_ids")) is not None:
        found.append(hf.NoBadWordsLogitsProcessor(words, ends or None))
    least = _least(configuration, settings, begin)
    if least > 0 and ends:
        found.append(hf.MinNewTokensLengthLogitsProcessor(begin, least, ends, device=device))
    if (first := own("forced_bos_token_id")) is not None:
        found.append(hf.ForcedBOSTokenLogitsProcessor(first))
    if (last := own("forced_eos_token_id")) is not None:
        found.append(hf.ForcedEOSTokenLogitsProcessor(begin + settings.max_new_tokens, last, device=device))
    if (decay := own("exponential_decay_length_penalty")) is not None and ends:
        found.append(hf.ExponentialDecayLengthPenalty(decay, ends, begin))
    if (tokens := own("suppress_tokens")) is not None:
        found.append(hf.SuppressTokensLogitsProcessor(tokens, device=device))
    if (tokens := own("begin_suppress_tokens")) is not None:
        forced = begin == 1 and own("forced_bos_token_id") is not None
        found.append(hf.SuppressTokensAtBeginLogitsProcessor(tokens, begin + forced, device=device))
    return found


def _least(configuration: Any, settings: Decoding, begin: int) -> int:
    """Return how many tokens a text has at least; a configuration's `min_length` counts what stands before them."""
    for source in (settings, configuration):
        if (least := getattr(source, "min_new_tokens", None)) is not None:
            return int(least)
    return int(getattr(configuration, "min_length", None) or 0) - begin
