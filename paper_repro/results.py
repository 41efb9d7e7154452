"""The one file of results that feeds every table of the documentation: JSON lines, one measurement each.

`BAYESPEFT_RESULTS` names another file, for measurements on another machine; `python -m paper_repro.merge` brings them home.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

HOME = Path(__file__).parent / "efficiency" / "results.jsonl"
FILE = Path(os.environ.get("BAYESPEFT_RESULTS") or HOME)


def machine() -> str:
    """Describe this machine: device, cores, threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine() + " CPU"
    return f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def append(experiment: str, **values: Any) -> dict[str, Any]:
    """Add a measurement with its date, machine, command and versions, and print it."""
    record = {
        "experiment": experiment,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        # Where a folder lies on one machine says nothing on another.
        "command": " ".join(["python", "-m", _module(), *("DATA" if os.path.isabs(a) else a for a in sys.argv[1:])]),
        "versions": {name: version(name) for name in ("torch", "pyro-ppl", "transformers")},
        **values,
    }
    FILE.parent.mkdir(exist_ok=True)
    with FileLock(FILE.with_suffix(".lock")), FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(values))
    return record


def _module() -> str:
    path = Path(sys.argv[0]).resolve()
    name = ".".join(path.relative_to(Path(__file__).resolve().parent.parent).with_suffix("").parts)
    return name.removesuffix(".__main__")


def read(experiment: str, file: Path | None = None) -> list[dict[str, Any]]:
    """Return all measurements of an experiment, oldest first; of the results file where no other is named."""
    file = file or FILE
    if not file.exists():
        return []
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["experiment"] == experiment]
