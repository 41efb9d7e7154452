"""How numbers and names are written in every table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

TITLES = {"mrpc": "MRPC", "sst2": "SST-2", "cola": "CoLA"}


def spread(values: Sequence[float], factor: float, digits: int) -> str:
    """Return mean ± standard deviation, or the one value; `factor` turns fractions into per cent."""
    mean = f"{factor * statistics.mean(values):.{digits}f}"
    return f"{mean} ± {factor * statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean
