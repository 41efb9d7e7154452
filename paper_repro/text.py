"""How numbers and names are written in every table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bayespeft import registry

TITLES = {
    "mrpc": "MRPC", "sst2": "SST-2", "cola": "CoLA", "rte": "RTE", "boolq": "BoolQ",
    "boolq_closed_book": "BoolQ without passages", "arc_easy": "ARC-Easy",
    "openbookqa": "OpenBookQA", "minilm": "MiniLM", "smollm2": "SmolLM2",
}  # fmt: skip


def title(record: Mapping[str, Any]) -> str:
    """Return the task's name, with network and training rows where these are not MiniLM and 500."""
    task, model = (TITLES.get(name, name) for name in (record["task"], record["model"]))
    network = [] if model == "MiniLM" else [model]
    rows = [] if record["limit"] == 500 else [f"at most {record['limit']:,} rows"]
    return ", ".join([task, *network, *rows])


def spread(values: Sequence[float], factor: float, digits: int) -> str:
    """Return mean ± standard deviation, or the one value; `factor` turns fractions into per cent."""
    mean = f"{factor * statistics.mean(values):.{digits}f}"
    return f"{mean} ± {factor * statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def up_to_date(record: Mapping[str, Any]) -> bool:
    """Return whether a record's settings are the method's defaults of today; settings that came later don't count."""
    method = record["settings"]["name"]
    if method not in registry.names("methods"):
        return True
    return _within(record["settings"], registry.get("methods", method).model_dump(mode="json"))


def _within(old: Any, new: Any) -> bool:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(key in new and _within(value, new[key]) for key, value in old.items())
    return bool(old == new)
