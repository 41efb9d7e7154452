"""What arguments of public functions may be: numbers within bounds, networks, tokenizers. Annotations are made of these."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from torch import nn


@dataclass(frozen=True)
class Must:
    """A test beyond the type, for `Annotated`, and what to say of a value that fails it: "must be ..."."""

    test: Callable[[Any], bool]
    say: str


BOUNDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "at least"),
    Gt: ("gt", operator.gt, "above"),
    Le: ("le", operator.le, "at most"),
    Lt: ("lt", operator.lt, "below"),
}
"""A bound -> its attribute, what holds between a value and it, and the words for that."""

# Arguments so marked are checked by whoever reads them, in words of their own, such as data in many forms.
ELSEWHERE = "checked elsewhere"
# Figures so marked are only reported, so that one which could not be computed may be NaN.
MAYBE_NAN = "or not a number"

# `bayespeft.layers.network` checks that this is a network, and takes off what wraps it.
Network = Annotated[nn.Module, ELSEWHERE]
# numpy's older generators, which other packages call, take no larger seeds.
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
# More draws than a Monte Carlo error ever needs are a slip.
Draws = Annotated[int, Ge(0), Le(10**6), "0 is the posterior mean"]
# This names one network: the posterior's mean, or a draw by its number.
Draw = Annotated[int, Ge(0), Lt(10**6)] | Literal["mean"]
Resamples = Annotated[int, Ge(1), Le(10**6)]
Count = Annotated[int, Ge(1), Le(2**31 - 1)]
Share = Annotated[float, Gt(0), Lt(1)]
Tokenizer = Annotated[
    Any,
    Must(
        lambda value: value is None or (callable(value) and hasattr(value, "pad_token_id")),
        "a tokenizer, as AutoTokenizer.from_pretrained returns it, or None",
    ),
]
# What reads rows: texts, or images and sounds.
Reader = Annotated[
    Any,
    Must(
        lambda value: (
            value is None or (callable(value) and bool({"pad_token_id", "model_input_names"} & {*dir(value)}))
        ),
        "a tokenizer, as AutoTokenizer.from_pretrained returns it, an image processor, a feature extractor, or None",
    ),
]
