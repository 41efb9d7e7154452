"""Where networks run."""

from __future__ import annotations

import torch

from bayespeft.errors import ConfigError


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of that name; "auto" is the GPU if there is one, else the CPU.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"the device {name!r} can't be used: {error}") from error
    return device
