"""One tree of errors. Each message says what happened, where (layer, column, name), and what to do about it."""

from __future__ import annotations

import re

# C0 but for tab and line feed, DEL and C1, which steer terminals; marks, embeddings, overrides and isolates, which turn the
# direction of what follows; separators of lines.
OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class BayesPeftError(Exception):
    """Root of every error that this package raises on purpose. Characters that a terminal would obey are shown in its words."""

    def __str__(self) -> str:
        return OBEYED.sub(escaped, super().__str__())


class ConfigError(BayesPeftError, ValueError):
    """A setting has a value that can't be used."""


class UnknownNameError(ConfigError):
    """A method, adapter, guide, data set or other registered name does not exist (or means two things)."""


class TargetError(BayesPeftError, ValueError):
    """No layer, or the wrong layer, was selected for adaptation."""


class AttachError(BayesPeftError, RuntimeError):
    """An adapter can't act on a layer of this network, or its hook did not fire."""


class DataError(BayesPeftError, ValueError):
    """The data can't be used: empty, missing columns, labels out of range, not a number."""


class GuideError(BayesPeftError, ValueError):
    """A guide and a prior, or a guide and a noise mode, don't fit together."""


class FitError(BayesPeftError, RuntimeError):
    """Inference left the finite numbers."""


class CheckpointError(BayesPeftError, ValueError):
    """A saved posterior, or a state of a training, can't be read or written, or belongs to another network or fit."""


class MissingPackageError(BayesPeftError, ImportError):
    """An optional package, model or data set is not installed."""


class FileError(BayesPeftError, OSError):
    """A file can't be read or written."""


class RunError(BayesPeftError, RuntimeError):
    """Every run of a comparison failed."""


def escaped(found: re.Match[str]) -> str:
    """Return a character as Python writes it."""
    return found[0].encode("unicode_escape").decode()
