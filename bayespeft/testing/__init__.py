"""What every part owes the house, as test classes: a package runs them on its own parts, as the house does on its parts.

    from bayespeft.testing import GuideContract
    from their_package import PlanarFlow

    class TestPlanarFlow(GuideContract):
        guide = PlanarFlow()

pytest finds the tests of the base class. They need the part registered, as it is in a package that is installed.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bayespeft.errors import MissingPackageError

if find_spec("pytest") is None:
    raise MissingPackageError("bayespeft.testing holds tests, which pytest runs: pip install pytest.")

import pytest

_CONTRACTS = {
    "AdapterContract": "adapters",
    "GuideContract": "guides",
    "LikelihoodContract": "likelihoods",
    "MethodContract": "methods",
    "PriorContract": "priors",
}
# Before they are imported: an assertion that fails then shows its values, as in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in (*_CONTRACTS.values(), "fits", "laws")))

if TYPE_CHECKING:
    from bayespeft.testing.adapters import AdapterContract as AdapterContract
    from bayespeft.testing.guides import GuideContract as GuideContract
    from bayespeft.testing.likelihoods import LikelihoodContract as LikelihoodContract
    from bayespeft.testing.methods import MethodContract as MethodContract
    from bayespeft.testing.priors import PriorContract as PriorContract
else:

    def __getattr__(name: str) -> Any:
        """Import a contract when it is asked for."""
        if name not in _CONTRACTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}. Contracts: {', '.join(_CONTRACTS)}.")
        return getattr(import_module(f"{__name__}.{_CONTRACTS[name]}"), name)
