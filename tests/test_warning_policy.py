"""Which warnings fail a test: those of our own modules, and of numbers that go wrong; never another package's deprecations."""

from __future__ import annotations

import warnings

import pytest


def warn(category: type[Warning], module: str) -> list[str]:
    """Warn as a line of that module does, under the filters of pyproject.toml; return what was collected."""
    with warnings.catch_warnings(record=True) as collected:
        warnings.warn_explicit("said", category, "file.py", 1, module=module)
    return [str(warning.message) for warning in collected]


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, PendingDeprecationWarning, UserWarning])
@pytest.mark.parametrize("module", ["bayespeft", "bayespeft.generation.stream", "tests.test_api", "paper_repro.tables"])
def test_what_our_own_lines_warn_of_is_an_error(category, module):
    with pytest.raises(category, match="said"):
        warn(category, module)


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, PendingDeprecationWarning, UserWarning])
@pytest.mark.parametrize("module", ["torch.nn.modules.module", "transformers.utils", "bayespeft_plugin.prior"])
def test_what_other_packages_warn_of_is_collected(category, module):
    assert warn(category, module) == ["said"]


def test_numbers_that_go_wrong_inside_numpy_are_ours():
    with pytest.raises(RuntimeWarning):
        warn(RuntimeWarning, "numpy._core.fromnumeric")
