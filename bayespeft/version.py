"""The installed version of this package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bayespeft")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
