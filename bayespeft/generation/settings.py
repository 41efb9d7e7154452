"""How text is written: what `transformers.generate` calls its generation configuration, as far as it makes sense here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from bayespeft.config import Config
from bayespeft.errors import ConfigError

# Settings that other libraries have, and what takes their place here.
INSTEAD = {
    **dict.fromkeys(
        ("num_beams", "num_beam_groups", "length_penalty", "early_stopping", "diversity_penalty"),
        "a beam is a search for the most probable text of one network, and here the law of a text is an average over many; "
        "for several texts pass do_sample=True with num_return_sequences, or mode='per_draw'",
    ),
    "max_length": "pass max_new_tokens, which leaves the prompt out",
    "stop_strings": "pass stop",
    "generation_config": "pass its fields; what the network's own generation_config forces or forbids holds already",
    **dict.fromkeys(
        ("logits_processor", "prefix_allowed_tokens_fn", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids",
         "forced_bos_token_id", "forced_eos_token_id", "sequence_bias", "min_length"),
        "what is forced or forbidden is read from the network: set it in model.generation_config",
    ),
    "attention_mask": 'pass prompts={"input_ids": ..., "attention_mask": ...}',
}  # fmt: skip


class Decoding(Config):
    """How the next token is chosen, and when to stop.

    Attributes:
        mode: "averaged": the next token's probabilities are averaged over the draws, which all write one text together;
            "per_draw": each draw writes a text of its own.
        max_new_tokens: at most so many tokens, the end token included.
        do_sample: sample the next token; otherwise it is the most probable one.
        temperature: divides log-probabilities before sampling.
        top_k: sample from so many of the most probable tokens; None from all.
        top_p: sample from the fewest tokens that together have this probability.
        min_p: sample from tokens with at least this share of the most probable one's probability.
        min_new_tokens: no end token before so many; None: as the network's generation configuration says.
        repetition_penalty: divides positive and multiplies negative logits of tokens that were there before, in the prompt of
            a causal model or the text (Keskar et al. 2019, arXiv 1909.05858); None: as the network says, 1 none. An average of
            laws has no logits: it is scaled where its log-probabilities stand on the draws' mean log-normaliser, which for
            one draw are the network's own logits.
        no_repeat_ngram_size: no sequence of so many tokens comes twice; None: as the network says, 0 allows all.
        num_return_sequences: texts for each prompt (and draw), which differ by their samples.
        stop: strings that end a text; the text ends before them, while their tokens stay in the sequence.
        eos_token_id: end tokens besides those that network and tokenizer name.
        seed: of the weights' draws and of the samples.
        batch_size: texts written at once, each by all draws.
        draws_per_pass: draws folded into the batch axis of one pass; None: all.

    Raises:
        ConfigError: a value is out of range, or needs sampling; at least more tokens than at most.
    """

    mode: Literal["averaged", "per_draw"] = "averaged"
    max_new_tokens: int = Field(default=64, ge=1)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    min_new_tokens: int | None = Field(default=None, ge=0)
    repetition_penalty: float | None = Field(default=None, gt=0)
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    num_return_sequences: int = Field(default=1, ge=1)
    stop: tuple[str, ...] = ()
    eos_token_id: tuple[Annotated[int, Field(ge=0)], ...] = ()
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=8, ge=1)
    draws_per_pass: int | None = Field(default=None, ge=1)

    @field_validator("stop", "eos_token_id", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """Return one string or token as a tuple of one."""
        return (value,) if isinstance(value, (str, int)) else value

    @model_validator(mode="after")
    def _check(self) -> Decoding:
        sampling = {"temperature": 1.0, "top_k": None, "top_p": 1.0, "min_p": 0.0, "num_return_sequences": 1}
        idle = [name for name, default in sampling.items() if getattr(self, name) != default]
        if idle and not self.do_sample:
            raise ValueError(f"{idle[0]}={getattr(self, idle[0])} changes nothing without do_sample=True")
        if "" in self.stop:
            raise ValueError("stop has an empty string, which every text ends before")
        if self.min_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens={self.min_new_tokens} is more than max_new_tokens={self.max_new_tokens}")
        return self


def refuse(names: Iterable[str]) -> None:
    """Say of options that there are not which there are.

    Raises:
        ConfigError: there is a name.
    """
    for name in names:
        instead = f": {INSTEAD[name]}" if name in INSTEAD else ""
        raise ConfigError(
            f"generate has no option {name!r}{instead}. Options: draws, {', '.join(Decoding.model_fields)}."
        )
