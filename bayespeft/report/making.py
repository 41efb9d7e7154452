"""How a prediction was made: what must be the same where a promise that one was calibrated on is to hold for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayespeft.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Making:
    """What decides a prediction besides its data and its number of draws.

    Attributes:
        posterior: a digest of what was averaged over: q, the base network, and what its output means.
        temperature: divides the logits.
        sampling: "plain", "antithetic" or "sobol"; "linearised", or "linearised, one direction"; "mean" where nothing is drawn.
        seed: of the draws; None where all seeds make the same.
    """

    posterior: str
    temperature: float
    sampling: str
    seed: int | None


def making_of(prediction: Any) -> Making | None:
    """Return how a prediction was made; None where nobody knows, as of probabilities that were passed in."""
    making = getattr(prediction, "making", None)
    return making if isinstance(making, Making) else None


def check_made_alike(what: str, other: str, own: Making | None, expected: Making | None, *, consequence: str) -> None:
    """Check that two predictions were made alike, where that is known of both.

    Args:
        what: was predicted.
        other: what else was predicted.
        own: how the first was made.
        expected: how the other was made.
        consequence: why that must be alike, a clause.

    Raises:
        ConfigError: they were not; the message names the first difference.
    """
    if own is None or expected is None:
        return
    if own.posterior != expected.posterior:
        raise ConfigError(f"{what} was predicted by another posterior than {other}: {consequence}")
    for name in ("temperature", "sampling", "seed"):
        one, two = getattr(own, name), getattr(expected, name)
        if one != two:
            raise ConfigError(f"{what} was predicted with {name} {one!r}, and {other} with {two!r}: {consequence}")
