"""Networks that are installed, or made to look so."""

import pytest

from bayespeft import registry
from bayespeft.errors import MissingPackageError

ROOM = "pretrained"


def real(name):
    """Return a network's folder; skip the test if its package is missing."""
    try:
        return registry.get(ROOM, name).path()
    except MissingPackageError as error:
        pytest.skip(str(error))
