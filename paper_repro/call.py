"""Runs a module of measurements within this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence


def call(module: str, arguments: Sequence[str]) -> None:
    """Run a module's `main()` as the command line would."""
    loaded = importlib.import_module(module)
    before = sys.argv
    # The results file notes the command.
    sys.argv = [str(loaded.__file__), *arguments]
    try:
        loaded.main()
    finally:
        sys.argv = before
