"""Names of tags, and few resamples."""

from __future__ import annotations

NAMES = ("O", "B-A", "I-A", "B-B", "I-B")


OPTIONS = {"resamples": 50}
