"""The caller's random state is the caller's: what is random in here comes from a seed and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from bayespeft.errors import CheckpointError
from bayespeft.utils.threads import alone


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside a `with` block, on the CPU and every GPU, and restore them afterwards.

    One block at a time in a process: of two that overlap, the later one would restore what the earlier one had seeded.
    """
    with alone(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


class Stream:
    """Random numbers that stop and go on: torch's global ones inside each `continued` block, the caller's outside.

    The blocks together draw what one `seeded` block around all of them would.

    Args:
        seed: where the stream begins.
        device: where numbers are drawn besides the CPU.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        places = (torch.device("cpu"), *self._devices)
        self._states = [torch.Generator(place).manual_seed(seed).get_state() for place in places]

    @contextmanager
    def continued(self) -> Iterator[None]:
        """Let torch's global generators go on where the stream stopped, inside a `with` block."""
        with alone(), torch.random.fork_rng(devices=self._devices):
            torch.set_rng_state(self._states[0])
            for device, state in zip(self._devices, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            try:
                yield
            finally:
                self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self._devices)]

    def state(self) -> dict[str, Any]:
        """Return where the stream stands, as plain tensors by kind of device."""
        names = ("cpu", *(device.type for device in self._devices))
        return dict(zip(names, self._states, strict=True))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned.

        Raises:
            CheckpointError: it is one of another kind of device.
        """
        names = ("cpu", *(device.type for device in self._devices))
        if set(state) != set(names):
            raise CheckpointError(
                f"the state holds random numbers of {', '.join(state)}, and this network is on {names[-1]}: random numbers are "
                "others there, so a run can't go on bit by bit. Move the network to the kind of device that it was trained on."
            )
        self._states = [state[name].cpu() for name in names]
