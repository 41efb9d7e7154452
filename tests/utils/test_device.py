"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import ConfigError
from bayespeft.utils.device import find_device


def test_names_are_devices():
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "nonsense", ""])
def test_a_device_that_is_not_there_is_an_error(name):
    with pytest.raises(ConfigError, match=f"the device '{name}' can't be used"):
        find_device(name)
