"""How text is written: what `transformers.generate` calls its generation configuration, as far as it makes sense here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bayespeft.config import Config


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
        num_return_sequences: texts for each prompt (and draw), which differ by their samples.
        stop: strings that end a text; the text ends before them, while their tokens stay in the sequence.
        seed: of the weights' draws and of the samples.
        batch_size: texts written at once, each by all draws.
        draws_per_pass: draws folded into the batch axis of one pass; None: all.

    Raises:
        ConfigError: a value is out of range, or needs sampling.
    """

    mode: Literal["averaged", "per_draw"] = "averaged"
    max_new_tokens: int = Field(default=64, ge=1)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float = Field(default=1.0, gt=0, le=1)
    num_return_sequences: int = Field(default=1, ge=1)
    stop: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=8, ge=1)
    draws_per_pass: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Decoding:
        sampling = {"temperature": 1.0, "top_k": None, "top_p": 1.0, "num_return_sequences": 1}
        idle = [name for name, default in sampling.items() if getattr(self, name) != default]
        if idle and not self.do_sample:
            raise ValueError(f"{idle[0]}={getattr(self, idle[0])} changes nothing without do_sample=True")
        if "" in self.stop:
            raise ValueError("stop has an empty string, which every text ends before")
        return self
