"""Every public function with wrong types for each of its arguments."""

from __future__ import annotations

import inspect
import os
import warnings
from pathlib import Path

from paper_repro.trust.outcome import Tally
from tests.test_wrong_types import WRONG, World, foreign

VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def calls(folder: Path) -> list[Tally]:
    """Return what came of `WRONG` at every argument; a function's own result counts as the same, for a value may be right."""
    tally = Tally("wrong types over all public signatures")
    before = Path.cwd()
    os.chdir(folder)  # a text may be a file's name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world = World(folder)
            for name, call, good in world.functions():
                words = foreign(world, name, call, good)
                named = [p for p in inspect.signature(call).parameters.values() if p.kind not in VARIADIC]
                tally.counts["refused"] += len(named) * len(WRONG) - len(words)
                for line in words:
                    tally.note("foreign", line)
    finally:
        os.chdir(before)
    return [tally]
