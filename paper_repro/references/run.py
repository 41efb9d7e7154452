"""How far our figures are from those of other packages and of papers' own code: what the reference tests compare.

python -m paper_repro.references.run
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from paper_repro.results import append

EXPERIMENT = "agreement"
TESTS = (
    "tests/references",
    "tests/report/test_references.py",
    "tests/training/test_alternating.py::test_blob_ends_with_the_spread_of_its_official_code",
    "tests/guides/test_reversed.py::test_the_prior_is_the_one_that_the_official_code_executes",
)


def main() -> None:
    root = Path(__file__).parent.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "agreements.jsonl"
        environment = {**os.environ, "BAYESPEFT_AGREEMENTS": str(file)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS]
        subprocess.run(command, cwd=root, env=environment, check=True)
        # A comparison of several numbers in turn is one, and as far off as the furthest.
        found: dict[tuple[str, str], dict[str, object]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            key = record["what"], record["against"]
            if key not in found or record["difference"] > found[key]["difference"]:
                found[key] = record
    for record in found.values():
        append(EXPERIMENT, **record)


if __name__ == "__main__":
    main()
