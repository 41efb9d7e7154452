"""How far figures are from those of another implementation: what a reference test asserts, and what can be written down.

Where `BAYESPEFT_AGREEMENTS` names a file, each comparison becomes a JSON line of it; the table of them is made by
`python -m paper_repro.references.run`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def agree(what: str, against: str, found: Any, expected: Any, *, atol: float) -> None:
    """Assert that no number is further off than `atol`.

    Args:
        what: is compared, in a few words.
        against: the other implementation and its version, or commit.
        found: ours.
        expected: theirs, in a shape that broadcasts.
        atol: the largest difference allowed.
    """
    own, theirs = (np.asarray(values, dtype=np.float64) for values in (found, expected))
    assert np.broadcast_shapes(own.shape, theirs.shape) == own.shape
    difference = float(np.abs(own - theirs).max())
    if file := os.environ.get("BAYESPEFT_AGREEMENTS"):
        test = os.environ["PYTEST_CURRENT_TEST"].split(" ")[0].split("[")[0]
        record = {"what": what, "against": against, "difference": difference, "largest": float(np.abs(theirs).max())}
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({**record, "allowed": atol, "test": test}) + "\n")
    assert difference <= atol, f"{what}: {difference:.3g} off {against}, {atol:g} allowed"
