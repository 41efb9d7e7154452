"""Warnings that point at the line which called into this package, however deep inside they are found."""

from __future__ import annotations

import sys
import warnings

_HERE = __name__.partition(".")[0]
# What calls the package as anybody would; nobody's own line is behind these.
_DOORS = (f"{_HERE}.cli", f"{_HERE}.testing")


def warn(message: str) -> None:
    """Warn at the caller of the outermost function of this package that is running.

    Decorators, context managers and other libraries may stand between that line and the place that warns, so that no fixed
    `stacklevel` reaches it.
    """
    outermost, level, frame = 1, 2, sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] == _HERE and not name.startswith(_DOORS):
            outermost = level
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]  # the stack's end has no caller
    warnings.warn(message, stacklevel=outermost + 1)
