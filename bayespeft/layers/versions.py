"""Whether a network's weights are still those of a fingerprint: tensors count how often they were written, and only those
that were since, or that lie elsewhere, are hashed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from bayespeft.layers.fingerprint import differs
from bayespeft.utils.sharded import is_sharded

# Where a tensor lies, and how often it was written there.
Version = tuple[int, int]


def versions(model: nn.Module) -> dict[str, Version]:
    """Return by name the version of each parameter and buffer, of those that count how often they are written.

    Optimisers and `load_state_dict` are counted, and another tensor in `.data` lies elsewhere; what is written through `.data`
    in place is seen by neither.
    """
    return {name: (_place(tensor), tensor._version) for name, tensor in _tensors(model).items()}


def changed(
    model: nn.Module, seen: dict[str, Version], fingerprint: Mapping[str, str], besides: Collection[str] = ()
) -> str | None:
    """Return the name of a weight that has other values than in a fingerprint; None where none is found.

    Args:
        model: the network.
        seen: `versions` of when it had these values; filled in with those of now where it still has.
        fingerprint: `bayespeft.layers.fingerprint` of the network.
        besides: names of weights that may differ.
    """
    now = versions(model)
    tensors = _tensors(model)
    for name, version in now.items():
        written = name in fingerprint and name not in besides and seen.get(name) != version
        if written and differs(fingerprint[name], tensors[name]):
            return name
    seen.update(now)
    return None


def _place(tensor: Tensor) -> int:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # a tensor that is made of others has no place of its own
        return 0


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    # Tensors of inference mode don't count; to hash sharded ones needs all processes.
    return {name: tensor for name, tensor in found.items() if not tensor.is_inference() and not is_sharded(tensor)}
