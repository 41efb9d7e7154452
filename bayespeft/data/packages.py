"""Finds data and models that ship inside registry packages, without importing those packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bayespeft.errors import MissingPackageError


def package_folder(module: str, command: str, what: str) -> Path:
    """Return the folder of an installed package.

    The package is not imported: its own code may need other programs, of which the files in its folder know nothing.

    Args:
        module: the dotted name of the package.
        command: how to install it.
        what: what is in it, for the message.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    locations = list(spec.submodule_search_locations or []) if spec is not None else []
    if not locations:
        raise MissingPackageError(f"{what} comes with the package {module!r}, which is not installed: {command}")
    return Path(locations[0])
