"""What comes of a fault: the same result as without it, our error, a foreign exception, or a wrong result without a word."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from bayespeft.errors import BayesPeftError


@dataclasses.dataclass
class Tally:
    """Faults of one kind.

    Attributes:
        fault: what is done.
        counts: how often it came to "same", "refused" (an error of ours), "foreign" or "silent".
        largest: the largest change of a probability among those that were silent.
        seen: the first foreign and silent ones, in words.
        harmless: what was accepted, with the same result.
    """

    fault: str
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    largest: float = 0.0
    seen: list[str] = dataclasses.field(default_factory=list)
    harmless: list[str] = dataclasses.field(default_factory=list)

    def attempt(self, what: str, call: Callable[[], Any], expected: torch.Tensor | None) -> None:
        """Do it once: `call` returns probabilities, which were to be `expected`; None where it was to be refused."""
        try:
            found = call()
        except BayesPeftError:
            self.counts["refused"] += 1
            return
        except Exception as error:
            self.note("foreign", f"{what}: {type(error).__name__}: {error}")
            return
        if expected is not None and torch.equal(found, expected):
            self.counts["same"] += 1
            self.harmless.append(what)
            return
        if expected is not None and found.shape == expected.shape:
            self.largest = max(self.largest, float((found - expected).abs().max()))
        self.note("silent", what)

    def note(self, outcome: str, words: str) -> None:
        """Count an outcome that should not be, and keep its words."""
        self.counts[outcome] += 1
        if len(self.seen) < 20:
            self.seen.append(f"{outcome}: {' '.join(words.split())[:300]}")

    def record(self) -> dict[str, Any]:
        """Return what stands in the results file."""
        return {
            "fault": self.fault,
            "tried": sum(self.counts.values()),
            **{name: self.counts[name] for name in ("same", "refused", "foreign", "silent")},
            "largest": self.largest,
            "seen": self.seen,
        }
