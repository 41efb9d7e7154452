"""A page, or a card in a notebook, of texts whose tokens are coloured by uncertainty. What the texts contain is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.report.view.pages import render

NAMES = {"entropy": "entropy", "mutual_information": "mutual information"}
# A notebook shows at most this many tokens, since it keeps what it shows, but always one text.
TOKENS = 2000
# Colours are full at this quantile of all tokens: one outlier must not make all others pale.
QUANTILE = 0.98


class Generation(Protocol):
    """What is shown of a `bayespeft.generation.result.Generation`, where it is said what each of these is."""

    lengths: Tensor
    entropy: Tensor
    token_probs: Tensor
    mutual_information: Tensor | None
    sequence_mutual_information: Tensor
    normalised_log_probs: Tensor
    prompt: Tensor
    draw: Tensor | None
    draws: int
    tokens: list[list[int]]
    pieces: tuple[tuple[str, ...], ...] | None
    prompts: tuple[str, ...] | None


@dataclass(frozen=True)
class Texts:
    """The page of texts; `color` and `title` are those of `Generation.to_html`."""

    generation: Generation
    color: str | None = None
    title: str = ""

    def html(self) -> str:
        """Return the page as a file of its own."""
        return render("tokens", title=self.title, **_view(self.generation, self.color))

    def card(self) -> str:
        """Return what a notebook shows: the first texts, and how many more there are."""
        shown = max(1, int((self.generation.lengths.cumsum(0) <= TOKENS).sum()))
        return render(
            "tokens_card", more=len(self.generation.lengths) - shown, **_view(self.generation, self.color, shown)
        )


def _view(generation: Generation, color: str | None, shown: int | None = None) -> dict[str, Any]:
    """Return what the templates show of the first texts, or of all; colours are those of all."""
    if color is None:
        color = "entropy" if generation.mutual_information is None or generation.draws < 2 else "mutual_information"
    if color not in NAMES:
        raise ConfigError(f"color={color!r}: {', '.join(NAMES)}.")
    values = getattr(generation, color)
    if values is None:
        raise ConfigError("each draw wrote a text of its own, so tokens have no mutual information: color='entropy'.")
    real = torch.arange(values.shape[1]) < generation.lengths[:, None]
    top = max(float(torch.quantile(values[real].double(), QUANTILE)), 1e-6)
    texts = [_text(generation, i, values[i] / top) for i in range(len(generation.lengths))[:shown]]
    return {"color": NAMES[color], "top": top, "texts": texts, "draws": generation.draws}


def _text(generation: Generation, i: int, shade: Tensor) -> dict[str, Any]:
    """Return what the template shows of text i."""
    length = int(generation.lengths[i])
    numbers = {"p": generation.token_probs, "entropy": generation.entropy, "information": generation.mutual_information}
    told = {name: None if tensor is None else tensor[i].tolist() for name, tensor in numbers.items()}
    pieces = generation.pieces[i] if generation.pieces else [f"{token} " for token in generation.tokens[i]]
    tokens = [
        {
            "text": pieces[t],
            "shade": min(1.0, float(shade[t])),
            **{k: None if v is None else v[t] for k, v in told.items()},
        }
        for t in range(length)
    ]
    return {
        "prompt": generation.prompts[int(generation.prompt[i])] if generation.prompts else None,
        "draw": None if generation.draw is None else int(generation.draw[i]),
        "tokens": tokens,
        "length": length,
        "log_prob": float(generation.normalised_log_probs[i]),
        "information": None
        if generation.mutual_information is None
        else float(generation.sequence_mutual_information[i]),
    }


VIEW = Texts
