"""What a network computes with beside its state dict: numbers of its modules, buffers that are not saved, activations.

A layer norm's epsilon, the frequencies of rotary positions, Tanh in the place of ReLU: none of them is in a state dict, and
each changes what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from bayespeft.errors import CheckpointError
from bayespeft.utils.sharded import whole
from bayespeft.utils.warned import warn

# How an entry begins: numbers of training alone, which no prediction depends on, have a word of their own.
NUMBER, TRAINING, CLASS, BUFFER, NUMBERS = "number ", "dropout ", "class ", "buffer ", "numbers "
KINDS = (NUMBER, TRAINING, CLASS, BUFFER, NUMBERS)
# Of these a layer computes the same, or the shapes of its tensors say them.
LEFT_OUT = frozenset({
    "inplace", "training", "scale_grad_by_freq", "sparse", "in_features", "out_features", "in_channels", "out_channels",
    "num_embeddings", "embedding_dim", "num_features", "num_channels", "normalized_shape", "kernel_size",
})  # fmt: skip
# By what part of their size buffers may be off: devices differ in the last digits of powers and sines, and sums of whole
# numbers in the last ones of double precision.
TOLERANCES = {NUMBERS: 1e-5, BUFFER: 1e-9}


def architecture(model: nn.Module) -> dict[str, str]:
    """Return what the modules of a network compute with that is in no state dict, by name: "0.eps" -> "number 1e-05".

    That is: numbers with a point, what torch's modules call their constants, buffers that are not saved, and the class of
    modules that hold no tensor.
    """
    return {
        f"{at}.{name}" if at else name: entry for at, module in model.named_modules() for name, entry in _of(module)
    }


def _of(module: nn.Module) -> Iterator[tuple[str, str]]:
    constants = getattr(module, "__constants__", ())
    for name, value in vars(module).items():
        if name.startswith("_") or name in LEFT_OUT:
            continue
        named = name in constants and isinstance(value, (bool, int, str, tuple))
        if type(value) is float or named:
            yield name, (TRAINING if _trains(module, name) else NUMBER) + repr(value)
    for name, buffer in module.named_buffers(recurse=False):
        # A table that is kept from one pass for the next grows with the texts.
        if name in module._non_persistent_buffers_set and not buffer.is_meta and "cache" not in name:
            yield name, _buffer(_own(module, name, buffer))
    if not any(True for _ in (*module.children(), *module.parameters(False), *module.buffers(False))):
        kind = type(module)
        # A class of somebody's own may lie elsewhere when it serves than when it was trained.
        where = f"{kind.__module__}." if kind.__module__.startswith("torch.nn.") else ""
        yield "", (TRAINING if _trains(module) or kind is nn.Identity else CLASS) + where + kind.__qualname__


def _trains(module: nn.Module, name: str = "") -> bool:
    return "drop" in name.lower() or "drop" in type(module).__name__.lower()


def _own(module: nn.Module, name: str, buffer: Tensor) -> Tensor:
    """Return the frequencies that a network has of itself, where it takes others while a text is long (transformers' ropes)."""
    kinds = getattr(module, "rope_type", "")
    if not any(word in str(kinds) for word in ("dynamic", "longrope")):
        return buffer
    own: Tensor = getattr(module, name.replace("inv_freq", "original_inv_freq"), buffer)
    return own


def _buffer(buffer: Tensor) -> str:
    """Return shape, size and two projections of a buffer."""
    flat = whole(buffer).detach().cpu().reshape(-1)
    flat = (torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat).double().nan_to_num()
    ways = torch.randn(2, len(flat), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kind = NUMBERS if buffer.is_floating_point() or buffer.is_complex() else BUFFER
    found = " ".join(f"{value:.12e}" for value in [float(flat.norm()), *(ways @ flat).tolist()])
    return f"{kind}{tuple(buffer.shape)}: {found}"


def check_architecture(saved: Mapping[str, str], model: nn.Module) -> None:
    """Check that a network computes as that which a posterior was fitted on, as far as both say the same names.

    Classes of other packages are renamed between their versions, so that another one is a warning.

    Raises:
        CheckpointError: it does not; the message names what is different.
    """
    found = architecture(model)
    for name in (name for name in saved if name in found):
        there, here = saved[name], found[name]
        if there == here or (there.startswith(TRAINING) and here.startswith(TRAINING)) or _close(there, here):
            continue
        words = _words(name.rstrip("."), there, here)
        if name.endswith(".") and not (_of_torch(there) and _of_torch(here)):
            warn(f"{words}: if these are not two names of one thing, load the same base.")
            continue
        raise CheckpointError(f"{words}; load the same base.")


def _close(there: str, here: str) -> bool:
    tolerance = next((value for kind, value in TOLERANCES.items() if here.startswith(kind)), None)
    if tolerance is None:
        return False
    shape, _, values = here.partition(": ")
    other, _, others = there.partition(": ")
    if shape != other:
        return False
    try:
        pairs = [(float(a), float(b)) for a, b in zip(values.split(), others.split(), strict=True)]
    except ValueError:
        return False
    size = pairs[0][0] if pairs else 0.0
    return all(math.isclose(a, b, rel_tol=0.0, abs_tol=tolerance * size) for a, b in pairs)


def _of_torch(entry: str) -> bool:
    return entry.partition(" ")[2].startswith("torch.nn.")


def _words(name: str, there: str, here: str) -> str:
    if here.startswith((BUFFER, NUMBERS)):
        return f"buffer '{name}' has other values or shape than in the network that the posterior was fitted on"
    here, there = (entry.partition(" ")[2] for entry in (here, there))
    return f"'{name}' is {here}, and in the network that the posterior was fitted on it was {there}"
